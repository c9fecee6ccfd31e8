-- Show the message of each list of one queue that is claimed next.
--
-- KEYS  the lists
-- Returns the envelopes
--
-- Invariant: nothing is written.
local found = {}
for _, key in ipairs(KEYS) do
  local raw = redis.call('LINDEX', key, -1)
  if raw then found[#found + 1] = raw end
end
return found
