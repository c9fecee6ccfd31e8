-- Functions: messages that rest until they are due. No operation of its own.
-- Invariant: `alarm` exists if and only if `delayed` is not empty, and is never later than its first
-- score. Every script that touches `delayed` keeps it so. It is there because claims look at it each
-- time, and because waiting consumers are told by Redis when it changes (CLIENT TRACKING): they need
-- to hear of a message that is due before all others, and of no other.

-- A member, here and in the quarantine: the index of the message's list (one byte, '0' and up) and 16
-- hex digits, which together are its place among those of one score; a line of JSON, or an empty one;
-- the envelope. Members that begin with '{' after the index are of an older release: index, envelope.
-- Returns the index of the list, from 0, and the envelope.
local function opened(member)
  local index = string.byte(member, 1) - 48
  if string.byte(member, 2) == 123 then return index, string.sub(member, 2) end
  return index, string.sub(member, string.find(member, '\n', 18, true) + 1)
end

-- Put a message to rest. `note` is a line of JSON that says why, or ''.
local function rest(delayed_key, alarm_key, due, list_index, raw, note)
  local key = string.sub(redis.sha1hex(raw), 1, 16)
  redis.call('ZADD', delayed_key, due, list_index .. key .. note .. '\n' .. raw)
  local alarm = redis.call('GET', alarm_key)
  if not alarm or tonumber(due) < tonumber(alarm) then redis.call('SET', alarm_key, due) end
end

-- Move up to `most` messages whose time has come to the back of their lists, earliest first.
-- Returns when the next is due (it may be now), or nil.
local function move_due(delayed_key, alarm_key, lists, now, most)
  local alarm = redis.call('GET', alarm_key)
  if not alarm then return nil end
  if tonumber(alarm) > now then return tonumber(alarm) end
  local due = redis.call('ZRANGEBYSCORE', delayed_key, '-inf', string.format('%.0f', now),
    'LIMIT', 0, most)
  for _, member in ipairs(due) do
    local index, raw = opened(member)
    -- ZREM first: Redis allows it when memory is full, and then allows what follows it.
    redis.call('ZREM', delayed_key, member)
    redis.call('LPUSH', lists[index + 1] or lists[1], raw)
  end
  local first = redis.call('ZRANGE', delayed_key, 0, 0, 'WITHSCORES')
  if first[2] then
    redis.call('SET', alarm_key, first[2])
    return tonumber(first[2])
  end
  redis.call('DEL', alarm_key)
  return nil
end
