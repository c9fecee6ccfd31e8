-- Bind a queue that expires to its exchange, and say until when the binding is meant.
--
-- KEYS  1 the exchange's routing table, 2 deadlines of routing tables
-- ARGV  1 the member, 2 the exchange, 3 the life of the binding in ms
-- Returns nothing
--
-- Invariant: a deadline only moves later.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
redis.call('SADD', KEYS[1], ARGV[1])
redis.call('ZADD', KEYS[2], 'GT', string.format('%.0f', now + tonumber(ARGV[3])), ARGV[2])
