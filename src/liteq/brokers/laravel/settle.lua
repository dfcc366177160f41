-- What becomes of reserved payloads of one queue, each only while it is still reserved.
-- KEYS: ready, delayed, reserved, notify, dead letters, then ready, notify and delayed of each
--       queue that a follower goes to.
-- ARGV: for each: verb, reserved text, pushed text ('' unless it is to return), available_at,
--       dead letter, number of followers; for each follower: its queue's place among KEYS,
--       available_at or '', payload.
-- Returns for each 1 if it took effect, else 0. What is written is written before the reservation
-- goes, for the reason that pop.lua gives.
local ready, delayed, reserved, notify, dead = unpack(KEYS, 1, 5)
local settled, returned, i = {}, {}, 1
while i <= #ARGV do
  local verb, held, body, at, letter = unpack(ARGV, i, i + 4)
  local followers = tonumber(ARGV[i + 5])
  local ours = redis.call('ZSCORE', reserved, held)
  i = i + 6
  if ours then
    for f = i, i + 3 * followers - 1, 3 do
      local place = tonumber(ARGV[f])
      if ARGV[f + 1] == '' then
        redis.call('RPUSH', KEYS[place], ARGV[f + 2])
        redis.call('RPUSH', KEYS[place + 1], 1)
      else
        redis.call('ZADD', KEYS[place + 2], ARGV[f + 1], ARGV[f + 2])
      end
    end
    if verb == 'release' then
      redis.call('ZADD', delayed, at, held)
    elseif verb == 'return' then
      returned[#returned + 1] = {body, held}
    elseif verb == 'bury' then
      redis.call('RPUSH', dead, letter)
    end
    if verb ~= 'return' then redis.call('ZREM', reserved, held) end
  end
  i = i + 3 * followers
  settled[#settled + 1] = ours and 1 or 0
end
for r = #returned, 1, -1 do  -- the last one first, so that they stand at the head in their order
  redis.call('LPUSH', ready, returned[r][1])
  redis.call('RPUSH', notify, 1)
  redis.call('ZREM', reserved, returned[r][2])
end
return settled
