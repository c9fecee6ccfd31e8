-- Drop every message of one queue that nobody has claimed.
--
-- KEYS  1 delayed, 2 alarm, then the lists
-- Returns how many there were
--
-- Invariant: claims stay as they are.
local dropped = redis.call('ZCARD', KEYS[1])
for i = 3, #KEYS do dropped = dropped + redis.call('LLEN', KEYS[i]) end
redis.call('UNLINK', unpack(KEYS))
return dropped
