-- Publish messages that rest until they are due.
-- uses: resting
--
-- KEYS  1 delayed, 2 alarm, then the queue's lists
-- ARGV  for each message: due in ms, index of its list, envelope
-- Returns nothing
--
-- Invariant: what is due already by the server's clock goes to its list at once, and wakes who waits.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 1, #ARGV, 3 do
  if tonumber(ARGV[i]) <= now then
    redis.call('LPUSH', KEYS[3 + tonumber(ARGV[i + 1])], ARGV[i + 2])
  else
    rest(KEYS[1], KEYS[2], ARGV[i], ARGV[i + 1], ARGV[i + 2], '')
  end
end
