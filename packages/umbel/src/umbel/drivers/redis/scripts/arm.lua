-- Look whether there is anything to claim; sent after CLIENT CACHING YES, so that Redis tells this
-- connection when one of the keys changes. Only keys are read whose change must end a wait.
--
-- KEYS  1 version of the revocations, then all alarms, then all lists
-- ARGV  1 number of alarms
-- Returns 1 version of the revocations, 2 whether a list has messages,
--   3 when the next delayed message is due (ms from now, -1 for never)
--
-- Invariant: nothing is written.
local alarms = tonumber(ARGV[1])
local version = redis.call('GET', KEYS[1]) or '0'
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local next_due = -1
for i = 2, alarms + 1 do
  local alarm = redis.call('GET', KEYS[i])
  if alarm then
    local left = math.max(0, tonumber(alarm) - now)
    if next_due < 0 or left < next_due then next_due = left end
  end
end
local ready = redis.call('EXISTS', unpack(KEYS, alarms + 2))
return {version, ready > 0 and 1 or 0, next_due}
