-- Tell what was revoked after a version.
--
-- KEYS  1 order, 2 expiry, 3 version
-- ARGV  1 the version known, or -inf
-- Returns 1 the version now, then each document still kept, in order
--
-- Invariant: nothing is written. What has expired is not told, whether or not it is removed yet.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local reply = {redis.call('GET', KEYS[3]) or '0'}
local from = ARGV[1] == '-inf' and '-inf' or '(' .. ARGV[1]
for _, document in ipairs(redis.call('ZRANGEBYSCORE', KEYS[1], from, '+inf')) do
  local ends = redis.call('ZSCORE', KEYS[2], document)
  if ends and tonumber(ends) > now then reply[#reply + 1] = document end
end
return reply
