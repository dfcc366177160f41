-- Release a lock of Laravel's cache. KEYS: the lock. ARGV: its owner, or '' for whoever has it.
if ARGV[1] == '' or redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
