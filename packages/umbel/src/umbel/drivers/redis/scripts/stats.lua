-- Count what lies in one queue.
--
-- KEYS  1 owners, 2 claims without an owner at the end, 3 delayed, then the lists
-- Returns ready, claimed, delayed
--
-- Invariant: nothing is written.
local ready, claimed = 0, 0
for i = 4, #KEYS do ready = ready + redis.call('LLEN', KEYS[i]) end
for _, owner in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  claimed = claimed + redis.call('HLEN', KEYS[2] .. owner)
end
return {ready, claimed, redis.call('ZCARD', KEYS[3])}
