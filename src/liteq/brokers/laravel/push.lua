-- Put payloads into one queue, as Laravel's scripts `push` and `later` do, many in one step.
-- KEYS: ready, notify, delayed. ARGV: available_at ('' for at once), payload, and so on.
for i = 1, #ARGV, 2 do
  if ARGV[i] == '' then
    redis.call('RPUSH', KEYS[1], ARGV[i + 1])
    redis.call('RPUSH', KEYS[2], 1)
  else
    redis.call('ZADD', KEYS[3], ARGV[i], ARGV[i + 1])
  end
end
return 1
