-- Keep reservations for longer. KEYS: reserved. ARGV: until, then reserved texts.
-- Returns for each 1 if it was still there, else 0.
local kept = {}
for i = 2, #ARGV do
  kept[i - 1] = 0
  if redis.call('ZSCORE', KEYS[1], ARGV[i]) then
    redis.call('ZADD', KEYS[1], ARGV[1], ARGV[i])
    kept[i - 1] = 1
  end
end
return kept
