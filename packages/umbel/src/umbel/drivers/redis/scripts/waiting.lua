-- Show what waits in one queue, in the order in which it is claimed: the lists from their right ends.
--
-- KEYS  the lists, the most urgent first
-- ARGV  1 how many to skip, 2 how many at most
-- Returns the envelopes
--
-- Invariant: nothing is written.
local skip, left = tonumber(ARGV[1]), tonumber(ARGV[2])
local found = {}
for _, key in ipairs(KEYS) do
  if left <= 0 then break end
  local length = redis.call('LLEN', key)
  if skip >= length then
    skip = skip - length
  else
    local some = redis.call('LRANGE', key, -skip - left, -skip - 1)
    for i = #some, 1, -1 do found[#found + 1] = some[i] end
    left = left - #some
    skip = 0
  end
end
return found
