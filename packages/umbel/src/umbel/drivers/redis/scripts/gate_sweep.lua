-- Let go who waits for places of the dead, for some of the limits; keep what this worker holds.
-- uses: gates
--
-- KEYS  1 leases of workers, 2 names of limits with waiting messages, 3 how many wait of each queue
-- ARGV  1 prefix, 2 where the last sweep ended, '0' at first, then the limits this worker holds places of
-- Returns where this one ended, '0' after the last
--
-- Invariant: places of the living stay.
local prefix = ARGV[1]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for i = 3, #ARGV do redis.call('PEXPIRE', prefix .. 'holders:' .. ARGV[i], HOLDERS_LIFE) end
local found = redis.call('HSCAN', KEYS[2], ARGV[2], 'COUNT', 200)
for i = 1, #found[2], 2 do
  bury(prefix, KEYS[1], found[2][i], now)
  let_go(prefix, KEYS[2], KEYS[3], found[2][i], tonumber(found[2][i + 1]), now)
end
return found[1]
