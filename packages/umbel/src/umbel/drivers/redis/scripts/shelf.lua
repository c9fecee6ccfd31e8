-- Functions: what is set aside, and finding one message on a shelf. No operation of its own.
-- A shelf is `delayed` (scored by when it is due) or the quarantine (by when it was set aside), in ms.
-- Members are as resting.lua says; the first 17 bytes are a message's place among equals.

-- `line` is JSON that begins an object; the count is put into it.
local function set_aside(quarantine_key, now, list_index, key, count, line, raw)
  redis.call('ZADD', quarantine_key, string.format('%.0f', now), string.char(48 + list_index) .. key
    .. '{"count":' .. string.format('%d', count) .. ',' .. string.sub(line, 2) .. '\n' .. raw)
end

-- Return the rank of the first message that does not come before this score and place; with `behind`,
-- of the first that comes after. Equal scores are in the order of their members: halve the range.
local function rank_of(shelf_key, score, place, behind)
  local low = redis.call('ZCOUNT', shelf_key, '-inf', '(' .. score)
  local high = redis.call('ZCOUNT', shelf_key, '-inf', score)
  while low < high do
    local middle = math.floor((low + high) / 2)
    local found = string.sub(redis.call('ZRANGE', shelf_key, middle, middle)[1], 1, 17)
    if found < place or (behind and found == place) then low = middle + 1 else high = middle end
  end
  return low
end

-- Return the member with this score and place, or nil.
local function member_at(shelf_key, score, place)
  local rank = rank_of(shelf_key, score, place, false)
  local found = redis.call('ZRANGE', shelf_key, rank, rank, 'WITHSCORES')
  if found[1] and string.sub(found[1], 1, 17) == place and tonumber(found[2]) == tonumber(score) then
    return found[1]
  end
end
