-- Functions: messages that rest until they are due. No operation of its own.
-- Invariant: `alarm` exists if and only if `delayed` is not empty, and is never later than its first
-- score. Every script that touches `delayed` keeps it so. It is there because claims look at it each
-- time, and because waiting consumers are told by Redis when it changes (CLIENT TRACKING): they need
-- to hear of a message that is due before all others, and of no other.

-- Put a message to rest. A member is the index of its list (one byte, '0' and up), then the envelope.
local function rest(delayed_key, alarm_key, due, list_index, raw)
  redis.call('ZADD', delayed_key, due, list_index .. raw)
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
    local list = lists[string.byte(member, 1) - 47] or lists[1]
    -- ZREM first: Redis allows it when memory is full, and then allows what follows it.
    redis.call('ZREM', delayed_key, member)
    redis.call('LPUSH', list, string.sub(member, 2))
  end
  local first = redis.call('ZRANGE', delayed_key, 0, 0, 'WITHSCORES')
  if first[2] then
    redis.call('SET', alarm_key, first[2])
    return tonumber(first[2])
  end
  redis.call('DEL', alarm_key)
  return nil
end
