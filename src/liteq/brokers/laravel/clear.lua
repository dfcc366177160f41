-- Delete all payloads of one queue, as Laravel's script `clear`. KEYS: ready, delayed, reserved,
-- notify. Returns how many there were.
local count = redis.call('LLEN', KEYS[1]) + redis.call('ZCARD', KEYS[2])
  + redis.call('ZCARD', KEYS[3])
redis.call('DEL', unpack(KEYS))
return count
