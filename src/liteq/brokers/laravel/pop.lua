-- Reserve due payloads of one queue: Laravel's `migrateExpiredJobs` and `pop`, many in one step.
-- KEYS: ready, delayed, reserved, notify, dead letters, our last claim.
-- ARGV: now, reserved until ('' for ever), limit, number of this claim, number of the last claim
--       that we have heard of, then the names of job classes that are not wanted.
-- Returns: when the next one is due ('' unknown), payloads that were migrated, payloads that were
--          set aside with their reasons, the numbers of the runs that are to begin, and for each
--          its pushed and its reserved text.
-- Nothing is taken out of a list before it is written elsewhere: Redis rolls no script back, so a
-- write that is refused for want of memory in between would lose the payload.
local ready, delayed, reserved, notify, dead, claim = unpack(KEYS)
local now, till, limit, number, heard = unpack(ARGV, 1, 5)
local unwanted = {}
for i = 6, #ARGV do unwanted[ARGV[i]] = true end
local migrated, aside, runs, found = {}, {}, {}, {}
limit = tonumber(limit)

-- The answer to our last claim never reached us: what it reserved goes back as it was.
local last = redis.call('LRANGE', claim, 0, -1)
if last[1] and last[1] ~= heard then
  for i = #last - 1, 2, -2 do
    if redis.call('ZSCORE', reserved, last[i + 1]) then
      redis.call('LPUSH', ready, last[i])
      redis.call('ZREM', reserved, last[i + 1])
      redis.call('RPUSH', notify, 1)
    end
  end
end
if last[1] then redis.call('DEL', claim) end

local function migrate(from)
  local due = redis.call('ZRANGEBYSCORE', from, '-inf', now, 'LIMIT', 0, 1000)
  for i = 1, #due do
    redis.call('RPUSH', ready, due[i])
    redis.call('RPUSH', notify, 1)
    migrated[#migrated + 1] = due[i]
  end
  if #due > 0 then redis.call('ZREMRANGEBYRANK', from, 0, #due - 1) end
end
migrate(delayed)
if till ~= '' then migrate(reserved) end

-- The payload, or nil and what is wrong with it: Laravel's own script would lose such a one.
local function read(body)
  local is_json, payload = pcall(cjson.decode, body)
  if not is_json then return nil, 'is not JSON: ' .. tostring(payload) end
  if type(payload) ~= 'table' then return nil, 'is not a JSON object' end
  local attempts = payload.attempts
  if type(attempts) ~= 'number' or attempts - attempts ~= 0 then  -- infinite, or NaN
    return nil, 'has no number of attempts'
  end
  return payload
end

-- Whether one of the names that the payload goes by is not wanted.
local function passed_over(payload)
  local data, job = payload.data, tostring(payload.job)
  return unwanted[job] or unwanted[string.match(job, '^[^@]*')] or unwanted[payload.displayName]
    or type(data) == 'table' and unwanted[data.commandName]
end

-- With one more attempt. In place where that is certain: cjson would spoil long numbers and `[]`.
-- Or nil and why it cannot be counted.
local function counted(body, payload)
  local number = string.format('%.0f', payload.attempts)
  payload.attempts = payload.attempts + 1
  local text, times = string.gsub(body, '"attempts":' .. number .. '([,}])',
    '"attempts":' .. string.format('%.0f', payload.attempts) .. '%1')
  if times == 1 and cjson.decode(text).attempts == payload.attempts then
    return text
  end
  local is_written, other = pcall(cjson.encode, payload)
  if is_written then return other end
  return nil, 'cannot be counted: ' .. tostring(other)
end

local function set_aside(body, why)
  local letter = {payload = body, error = 'the payload ' .. why, failed_at = tonumber(now)}
  redis.call('RPUSH', dead, cjson.encode(letter))
  aside[#aside + 1] = body
  aside[#aside + 1] = why
end

-- Reserve it, or set it aside.
local function take(body, payload, why)
  local held
  if payload then held, why = counted(body, payload) end
  if not held then return set_aside(body, why) end
  if till == '' then redis.call('ZADD', reserved, 'inf', held)
  else redis.call('ZADD', reserved, till, held) end
  runs[#runs + 1] = payload.attempts
  found[#found + 1] = body
  found[#found + 1] = held
end

if next(unwanted) then
  for _, body in ipairs(redis.call('LRANGE', ready, 0, 999)) do
    if #found >= 2 * limit then break end
    local payload, why = read(body)
    if not payload or not passed_over(payload) then
      take(body, payload, why)
      redis.call('LREM', ready, 1, body)
      redis.call('LPOP', notify)
    end
  end
else
  while #found < 2 * limit do
    local body = redis.call('LINDEX', ready, 0)
    if not body then break end
    take(body, read(body))
    redis.call('LPOP', ready)
    redis.call('LPOP', notify)
  end
end

if #found > 0 then
  redis.call('RPUSH', claim, number)
  for i = 1, #found do redis.call('RPUSH', claim, found[i]) end
  redis.call('EXPIRE', claim, 86400)
end

local next_at = ''
if #found < 2 * limit then
  for _, set in ipairs({delayed, till ~= '' and reserved or nil}) do
    local first = redis.call('ZRANGE', set, 0, 0, 'WITHSCORES')
    if first[2] and (next_at == '' or tonumber(first[2]) < tonumber(next_at)) then
      next_at = first[2]
    end
  end
end
return {next_at, migrated, aside, runs, found}
