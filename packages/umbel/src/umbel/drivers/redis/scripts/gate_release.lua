-- Give places under limits back, and let go who waits for them.
-- uses: gates
--
-- KEYS  1 names of limits with waiting messages, 2 how many wait of each queue
-- ARGV  1 the worker, 2 prefix, then for each place: limit, task id, how many at once
-- Returns how many messages were let go
--
-- Invariant: a place that another owner holds stays.
local prefix, gone = ARGV[2], 0
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for at = 3, #ARGV, 3 do
  local holders = prefix .. 'holders:' .. ARGV[at]
  if redis.call('HGET', holders, ARGV[at + 1]) == ARGV[1] then redis.call('HDEL', holders, ARGV[at + 1]) end
  if redis.call('EXISTS', prefix .. 'waiting:' .. ARGV[at]) == 1 then
    gone = gone + let_go(prefix, KEYS[1], KEYS[2], ARGV[at], tonumber(ARGV[at + 2]), now)
  end
end
return gone
