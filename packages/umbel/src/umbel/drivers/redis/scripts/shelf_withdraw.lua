-- Take messages off a shelf: back to their queue, to rest again, or away.
-- uses: envelope resting results shelf
--
-- KEYS  1 the shelf, 2 deliveries, 3 delayed, 4 alarm, then the queue's lists
-- ARGV  1 '1': the shelf is the quarantine, and deliveries are forgotten
--       2 database of the broker  3 database of the results, '' when it is the same
--       then for each message: score, place, 'd' (drop) or 'b' envelope due-in-ms-or-'' (back);
--         how many records, for each key, document, life in ms or 0; how many results to forget, their keys
-- Returns the numbers of the messages that were there, from 0
--
-- Invariants: a message that is not there has no effect. It leaves the shelf and enters another place in
-- one script. The first write is ZREM, which Redis allows when memory is full.
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local records, forgotten, done, at, number = {}, {}, {}, 4, 0

local function put_back(member, raw, due)
  local index = string.byte(member, 1) - 48
  if ARGV[1] == '1' then redis.call('HDEL', KEYS[2], (tag_of(raw))) end
  if due ~= '' and tonumber(due) > now then
    rest(KEYS[3], KEYS[4], due, string.char(48 + index), raw, '')
  else
    redis.call('LPUSH', KEYS[5 + index] or KEYS[5], raw)
  end
end

while at <= #ARGV do
  local member = member_at(KEYS[1], ARGV[at], ARGV[at + 1])
  if member then
    redis.call('ZREM', KEYS[1], member)
    done[#done + 1] = number
  end
  local back = ARGV[at + 2] == 'b'
  if member and back then put_back(member, ARGV[at + 3], ARGV[at + 4]) end
  at = at + (back and 5 or 3)
  for _ = 1, tonumber(ARGV[at]) do
    if member then
      local n = #records
      records[n + 1], records[n + 2], records[n + 3] = ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
    end
    at = at + 3
  end
  at = at + 1
  for i = 1, tonumber(ARGV[at]) do
    if member then forgotten[#forgotten + 1] = ARGV[at + i] end
  end
  at = at + tonumber(ARGV[at]) + 1
  number = number + 1
end

local first = redis.call('ZRANGE', KEYS[3], 0, 0, 'WITHSCORES')[2]
if not first then
  redis.call('DEL', KEYS[4])
elseif first ~= redis.call('GET', KEYS[4]) then
  redis.call('SET', KEYS[4], first)
end

if #records + #forgotten > 0 then
  if ARGV[3] ~= '' then redis.call('SELECT', ARGV[3]) end
  for _, key in ipairs(forgotten) do redis.call('DEL', key) end
  for i = 1, #records, 3 do store_record(records[i], records[i + 1], records[i + 2]) end
  if ARGV[3] ~= '' then redis.call('SELECT', ARGV[2]) end
end
return done
