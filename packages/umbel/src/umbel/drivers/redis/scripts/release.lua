-- Give back everything an owner holds, uncounted, and end its lease.
-- uses: envelope claims
--
-- KEYS  1 leases of workers, 2 what this worker told about itself
--       then for each queue: owners, claims of this owner, and its lists
-- ARGV  1 lists per queue, 2 the worker, then every name the owner has had, the present one first
-- Returns how many claims went back
--
-- Invariant: each claim goes to the front of its list, so that the one claimed first comes first.
local per_queue = tonumber(ARGV[1])
local width = 2 + per_queue
local returned = 0
redis.call('ZREM', KEYS[1], ARGV[2])
redis.call('DEL', KEYS[2])
for q = 0, (#KEYS - 2) / width - 1 do
  local owners_key, claims_key, lists = KEYS[3 + q * width], KEYS[4 + q * width], {}
  local prefix = string.sub(claims_key, 1, -#ARGV[3] - 1)
  for i = 1, per_queue do lists[i] = KEYS[4 + q * width + i] end
  for i = 3, #ARGV do
    local flat = redis.call('HGETALL', prefix .. ARGV[i])
    return_claims(prefix .. ARGV[i], lists, flat)
    redis.call('ZREM', owners_key, ARGV[i])
    returned = returned + #flat / 2
  end
end
return returned
