-- Perform steps of joins, where the messages that follow rest somewhere else.
-- uses: joins
--
-- KEYS  none: a step names its key
-- ARGV  1 how many steps, then the steps as joins.lua has them; a place is the number of the step
-- Returns for each message that is due the number of the step that made it so
--
-- Invariant: what follows is told again for every filling until the join is closed.
local due, places = {}, {}
perform_joins(2, tonumber(ARGV[1]), true, due)
for i = 1, #due, 2 do places[#places + 1] = due[i] end
return places
