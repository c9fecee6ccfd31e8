-- Put one message that a dead Celery worker held back to the front of its queues.
--
-- KEYS  1 unacked, 2 unacked_index, then the lists it goes to
-- ARGV  1 delivery tag, 2 the score at or below which its holder counts as dead, 3 the envelope
-- Returns 1 when it was moved, 0 when somebody acknowledged, restored or redelivered it meanwhile
--
-- Invariant: the message leaves `unacked` and enters the lists in one step.
local delivered = redis.call('ZSCORE', KEYS[2], ARGV[1])
if not delivered or tonumber(delivered) > tonumber(ARGV[2]) then return 0 end
redis.call('ZREM', KEYS[2], ARGV[1])
if redis.call('HDEL', KEYS[1], ARGV[1]) == 0 then return 0 end
for i = 3, #KEYS do redis.call('RPUSH', KEYS[i], ARGV[3]) end
return 1
