-- Remember what must not run, and tell every consumer that there is news.
--
-- KEYS  1 order, 2 expiry, 3 version
-- ARGV  1 how long to keep it, in ms, then one document for each revocation
-- Returns the new version
--
-- Invariants: `order` and `expiry` have the same members; a document's score in `order` is the
-- version by which it was (last) told, so a consumer asks for what is above the version it knows.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local gone = redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', string.format('%.0f', now), 'LIMIT', 0, 1000)
for _, document in ipairs(gone) do
  redis.call('ZREM', KEYS[1], document)
  redis.call('ZREM', KEYS[2], document)
end
-- A server that forgot the version must not count from where consumers have been before.
local version = tonumber(redis.call('GET', KEYS[3])) or math.floor(now)
for i = 2, #ARGV do
  version = version + 1
  redis.call('ZADD', KEYS[1], string.format('%.0f', version), ARGV[i])
  redis.call('ZADD', KEYS[2], string.format('%.0f', now + tonumber(ARGV[1])), ARGV[i])
end
redis.call('SET', KEYS[3], string.format('%.0f', version))
return version
