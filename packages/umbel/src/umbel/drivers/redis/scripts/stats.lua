-- Count what lies in one queue.
--
-- KEYS  1 owners, 2 claims without an owner at the end, 3 delayed, 4 quarantine, then the lists
-- Returns ready, claimed, delayed, set aside, when the oldest of these was set aside (ms) or false
--
-- Invariant: nothing is written.
local ready, claimed = 0, 0
for i = 5, #KEYS do ready = ready + redis.call('LLEN', KEYS[i]) end
for _, owner in ipairs(redis.call('ZRANGE', KEYS[1], 0, -1)) do
  claimed = claimed + redis.call('HLEN', KEYS[2] .. owner)
end
local oldest = redis.call('ZRANGE', KEYS[4], 0, 0, 'WITHSCORES')[2] or false
return {ready, claimed, redis.call('ZCARD', KEYS[3]), redis.call('ZCARD', KEYS[4]), oldest}
