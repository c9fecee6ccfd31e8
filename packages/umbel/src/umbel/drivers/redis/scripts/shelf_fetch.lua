-- Tell those of these messages of a shelf that are there.
-- uses: envelope resting shelf
--
-- KEYS  1 the shelf, 2 deliveries
-- ARGV  for each message: score, place
-- Returns for each that is there: score, member, deliveries without an outcome
--
-- Invariant: nothing is written.
local reply = {}
for i = 1, #ARGV, 2 do
  local member = member_at(KEYS[1], ARGV[i], ARGV[i + 1])
  if member then
    local _, raw = opened(member)
    local n = #reply
    reply[n + 1], reply[n + 2] = ARGV[i], member
    reply[n + 3] = tonumber(redis.call('HGET', KEYS[2], (tag_of(raw)))) or 0
  end
end
return reply
