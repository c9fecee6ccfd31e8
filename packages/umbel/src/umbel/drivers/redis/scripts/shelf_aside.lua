-- Set messages aside that nobody has a claim on any more.
-- uses: shelf
--
-- KEYS  1 quarantine
-- ARGV  for each message: key (16 hex digits), deliveries, a line of JSON, envelope
-- Returns nothing
--
-- Invariant: all of them or none.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 1, #ARGV, 4 do
  set_aside(KEYS[1], now, 0, ARGV[i], tonumber(ARGV[i + 1]), ARGV[i + 2], ARGV[i + 3])
end
