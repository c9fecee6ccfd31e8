-- Tell some messages of a shelf, in its order.
-- uses: envelope resting shelf
--
-- KEYS  1 the shelf, 2 deliveries
-- ARGV  1 how many at most  2 how many to look at, at most  3 how many bytes to look at, about
--       4 the least score, or -inf  5 the score to stop at, or +inf
--       6 score and 7 place of the message to go on behind, or '' and ''
--       then texts, one of which the message must contain; none: all are wanted
-- Returns 1 score and 2 place of the last message looked at, or '' and '' when there are no more
--   then for each message: score, member, deliveries without an outcome
--
-- Invariant: nothing is written. One call does a bounded amount of work.
local limit, most, bytes = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local stop = ARGV[5] == '+inf' and math.huge or tonumber(ARGV[5])
local rank = redis.call('ZCOUNT', KEYS[1], '-inf', '(' .. ARGV[4])
if ARGV[6] ~= '' then rank = math.max(rank, rank_of(KEYS[1], ARGV[6], ARGV[7], true)) end
local counted = redis.call('EXISTS', KEYS[2]) == 1

-- Looking at the whole member first spares the copy of nearly every envelope.
local function wanted(member)
  if #ARGV < 8 then return true end
  for i = 8, #ARGV do
    if string.find(member, ARGV[i], 1, true) then
      local _, raw = opened(member)
      if string.find(raw, ARGV[i], 1, true) then return true end
    end
  end
  return false
end

local reply, told = {'', ''}, 0
while true do
  local chunk = redis.call('ZRANGE', KEYS[1], rank, rank + 49, 'WITHSCORES')
  if #chunk == 0 then return reply end
  for i = 1, #chunk, 2 do
    local member, score = chunk[i], chunk[i + 1]
    if tonumber(score) >= stop then return reply end
    most, bytes, rank = most - 1, bytes - #member, rank + 1
    if wanted(member) then
      local count = 0
      if counted then
        local _, raw = opened(member)
        count = tonumber(redis.call('HGET', KEYS[2], (tag_of(raw)))) or 0
      end
      local n = #reply
      reply[n + 1], reply[n + 2], reply[n + 3] = score, member, count
      told = told + 1
    end
    if told >= limit or most <= 0 or bytes <= 0 then
      reply[1], reply[2] = score, string.sub(member, 1, 17)
      return reply
    end
  end
end
