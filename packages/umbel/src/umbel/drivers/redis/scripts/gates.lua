-- Functions: limits that all workers share. No operation of its own.
-- Names are put together here, below a prefix: `holders:<limit>`, a hash of task id -> owner, or of
-- task id -> `~<ms>` while a place is kept for a message on its way until that moment; `waiting:<limit>`,
-- a list of list, queue, task id, envelope, between newlines; `pace:<limit>`, two numbers in ms.
-- Invariants: a message is in `waiting` or in one of the places of exchange.lua, and in one of them
-- only. `names` has a field for every limit for which a message waits, `queues` how many of each queue.

local RESERVED, HOLDERS_LIFE, PACE_LIFE = 60000, 86400000, 60000 -- ms
local EARLY, SLACK, LONGEST_REST = 1, 1000, 300000 -- as in model/pace.py, in ms

-- Take the places of the dead away, and those that were kept in vain.
local function bury(prefix, leases, name, now)
  local key = prefix .. 'holders:' .. name
  local flat, gone = redis.call('HGETALL', key), 0
  for i = 1, #flat, 2 do
    local owner, till = flat[i + 1], nil
    if string.byte(owner, 1) == 126 then
      till = tonumber(string.sub(owner, 2))
    else
      till = tonumber(redis.call('ZSCORE', leases, owner) or 0)
    end
    if till <= now then gone = gone + redis.call('HDEL', key, flat[i]) end
  end
  return gone
end

-- Send the first that wait to the front of their queues, as far as there are places.
local function let_go(prefix, names, queues, name, most, now)
  local holders, waiting = prefix .. 'holders:' .. name, prefix .. 'waiting:' .. name
  local free, gone = most - redis.call('HLEN', holders), 0
  while free > 0 do
    local entry = redis.call('LPOP', waiting)
    if not entry then break end
    local list, queue, task, raw = string.match(entry, '^([^\n]*)\n([^\n]*)\n([^\n]*)\n(.*)$')
    redis.call('HSET', holders, task, '~' .. string.format('%.0f', now + RESERVED))
    redis.call('PEXPIRE', holders, HOLDERS_LIFE)
    redis.call('RPUSH', list, raw)
    if redis.call('HINCRBY', queues, queue, -1) <= 0 then redis.call('HDEL', queues, queue) end
    free, gone = free - 1, gone + 1
  end
  if gone > 0 and redis.call('EXISTS', waiting) == 0 then redis.call('HDEL', names, name) end
  return gone
end

-- As Pace.wait in model/pace.py. Returns ms.
local function turn(prefix, name, interval, now)
  local key = prefix .. 'pace:' .. name
  local known = redis.call('GET', key)
  local free_at, last = now, 0
  if known then
    free_at, last = string.match(known, '^(%S+) (%S+)$')
    free_at, last = tonumber(free_at), tonumber(last)
  end
  local wait = 0
  if now >= free_at - EARLY then
    if now - free_at > math.min(SLACK, interval) then free_at = now end
    free_at = free_at + interval
  else
    last = math.max(last + interval, free_at)
    wait = math.min(last - now, LONGEST_REST)
  end
  local life = string.format('%.0f', math.max(free_at, last) - now + PACE_LIFE)
  redis.call('SET', key, string.format('%.3f %.3f', free_at, last), 'PX', life)
  return math.ceil(wait)
end
