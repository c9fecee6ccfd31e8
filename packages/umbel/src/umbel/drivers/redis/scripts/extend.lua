-- Renew the lease of one owner on the queues where it holds claims; take over what it held under
-- former names, from connections that are lost.
-- uses: envelope claims
--
-- KEYS  1 version of the revocations, 2 leases of workers, 3 what this worker tells about itself
--       then for each queue: owners, claims of this owner, its lists
-- ARGV  1 this owner  2 lease in ms  3 lists per queue  4 the worker  5 what it tells
--       6 number of former names of the owner, then those
--       then for each queue: how many claims the owner knows of, then their fields
-- Returns 1 version of the revocations, then for each queue: 1 when the lease had not ended, else 0;
--   and the fields named that are not held
--
-- Invariants: a claim the owner does not know of goes back to the front of its queue, uncounted: the
-- reply that told of it was lost. Under a former name nothing can be settled afterwards, so a command
-- still on its way on a lost connection does no harm.
local me, lease, per_queue, formers = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[6])
local width = 2 + per_queue
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local ends = string.format('%.0f', now + lease)
local reply = {redis.call('GET', KEYS[1]) or '0'}

redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now))
redis.call('ZADD', KEYS[2], ends, ARGV[4])
redis.call('SET', KEYS[3], ARGV[5], 'PX', ARGV[2])

local function take_over(owners_key, claims_key)
  local alive = redis.call('ZSCORE', owners_key, me) and 1 or 0
  local prefix = string.sub(claims_key, 1, -#me - 1)
  for i = 7, 6 + formers do
    if redis.call('ZREM', owners_key, ARGV[i]) == 1 then alive = 1 end
    assert(ARGV[i] ~= me)
    local flat = redis.call('HGETALL', prefix .. ARGV[i])
    for j = 1, #flat, 1000 do
      redis.call('HSET', claims_key, unpack(flat, j, math.min(j + 999, #flat)))
    end
    redis.call('DEL', prefix .. ARGV[i])
  end
  return alive
end

local at = 7 + formers
for q = 0, (#KEYS - 3) / width - 1 do
  local owners_key, claims_key = KEYS[4 + q * width], KEYS[5 + q * width]
  local alive = take_over(owners_key, claims_key)
  local known, names, lists, unknown, missing = tonumber(ARGV[at]), {}, {}, {}, {}
  for i = 1, known do names[ARGV[at + i]] = true end
  for i = 1, per_queue do lists[i] = KEYS[5 + q * width + i] end
  at = at + known + 1
  local fields = redis.call('HKEYS', claims_key)
  for _, field in ipairs(fields) do
    if names[field] then
      names[field] = nil
    else
      unknown[#unknown + 1] = field
      unknown[#unknown + 1] = redis.call('HGET', claims_key, field)
    end
  end
  return_claims(claims_key, lists, unknown)
  for field in pairs(names) do missing[#missing + 1] = field end
  if #fields > #unknown / 2 then
    redis.call('ZADD', owners_key, ends, me)
  else
    redis.call('ZREM', owners_key, me)
  end
  reply[#reply + 1] = alive
  reply[#reply + 1] = missing
end
return reply
