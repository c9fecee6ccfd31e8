-- Settle claims with their effects, move what is due, rescue what the dead hold, claim more.
-- uses: envelope resting results claims shelf joins
--
-- KEYS  1 version of the revocations
--       then for each queue: owners, claims of this owner, deliveries, delayed, alarm, quarantine,
--       and its lists, most urgent first
-- ARGV  1 this owner   2 lease in ms   3 how many to claim   4 number of the first claim
--       5 index of the queue whose turn it is, from 0   6 '1': look for dead owners
--       7 database of the broker   8 database of the results, '' when it is the same
--       9 lists per queue  10 '1': look at every list if there was nothing, so that a connection
--       which sent CLIENT CACHING YES before this is told when one changes (not together with 6)
--       then the settlements, each of which begins with a letter, the index of its queue, its field:
--         d                        done, no effects
--         1 key document life      done, with one record
--         D records outgoing joins ...   done, with effects
--         C records outgoing joins ...   done, and the message is counted in deliveries
--         k records outgoing joins ...   keep the claim
--         r due front counted note records outgoing ...   back to the queue; due in ms or ''; a
--                                  line of JSON that says why it must wait, or ''
--         q key line records outgoing ...   set aside, with a line of JSON; the key (16 hex digits)
--                                  tells it from others of the same millisecond
--       a record is key, document, life in ms or 0
--       an outgoing message is list, envelope, due in ms or ''; with a due time also
--         delayed, alarm, index of the list
--       the steps of joins are as joins.lua has them; the place of what follows is a list
-- Returns 1 version of the revocations, 2 the queues, from 0, where this owner had no lease before this call,
--   3 when the next delayed message is due, 4 when the next lease of somebody else ends (ms from
--   now, -1 for never, -2 when not looked for), 5 the numbers of the settlements refused, from 0,
--   6 delivery counts: index of a claim from 0, count, ...
--   7 claims: for each run from one list: index of the queue, index of the list, envelope, ...
--
-- Invariants: a settlement whose field is gone has no effect at all. A message is in a list, in one
-- claims hash, in delayed or in quarantine, and in one of them only. The first write is HDEL or RPOP,
-- which Redis allows when memory is full; what follows a script's first write is never refused, so
-- no script stops between taking a message from one place and putting it into another.

local me, lease, limit, number = ARGV[1], tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local per_queue = tonumber(ARGV[9])
local width = 6 + per_queue
local queues = (#KEYS - 1) / width

local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)

local function lists_of(base)
  local lists = {}
  for i = 1, per_queue do lists[i] = KEYS[base + 6 + i] end
  return lists
end

-- settle ------------------------------------------------------------------------------------------

local refused, records, joins, at = {}, {}, {}, 11

-- A message whose list is somebody's key of another type is set aside rather than lost.
local function send(list, raw, quarantine_key)
  local reply = redis.pcall('LPUSH', list, raw)
  if type(reply) == 'table' and reply.err then
    local key = string.sub(redis.sha1hex(raw), 1, 16)
    set_aside(quarantine_key, now, 0, key, 0, cjson.encode({reason = 'no such queue', detail = reply.err}), raw)
  end
end

local function read_effects(count_at, perform, quarantine_key)
  local i = count_at + 3
  for _ = 1, tonumber(ARGV[count_at]) do
    if perform then
      local n = #records
      records[n + 1], records[n + 2], records[n + 3] = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    end
    i = i + 3
  end
  for _ = 1, tonumber(ARGV[count_at + 1]) do
    local due = ARGV[i + 2]
    if due == '' then
      if perform then send(ARGV[i], ARGV[i + 1], quarantine_key) end
      i = i + 3
    else
      if perform then rest(ARGV[i + 3], ARGV[i + 4], due, ARGV[i + 5], ARGV[i + 1], '') end
      i = i + 6
    end
  end
  local steps = tonumber(ARGV[count_at + 2])
  if steps > 0 then
    if perform then joins[#joins + 1] = {i, steps} end
    i = skip_joins(i, steps)
  end
  return i
end

-- One branch of the verdict that needs the envelope. Returns where its effects begin.
local function put_back(base, field, raw)
  local due, front, counted = ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
  if counted == '1' then raw = count_delivery(KEYS[base + 3], raw) end
  local index = list_index_of(field)
  if due ~= '' and tonumber(due) > now then
    rest(KEYS[base + 4], KEYS[base + 5], due, string.char(48 + index), raw, ARGV[at + 6])
  elseif front == '1' then
    redis.call('RPUSH', KEYS[base + 7 + index], raw)
  else
    redis.call('LPUSH', KEYS[base + 7 + index], raw)
  end
end

local EXTRA = {D = 0, C = 0, k = 0, r = 4, q = 2}
local settled = 0

while at <= #ARGV do
  local kind, base, field = ARGV[at], 1 + tonumber(ARGV[at + 1]) * width, ARGV[at + 2]
  local claims_key = KEYS[base + 2]
  if kind == '1' then
    if redis.call('HDEL', claims_key, field) == 1 then
      local n = #records
      records[n + 1], records[n + 2], records[n + 3] = ARGV[at + 3], ARGV[at + 4], ARGV[at + 5]
    else
      refused[#refused + 1] = settled
    end
    at = at + 6
  elseif kind == 'd' then
    if redis.call('HDEL', claims_key, field) == 0 then refused[#refused + 1] = settled end
    at = at + 3
  else
    local ours, raw
    if kind == 'k' then
      ours = redis.call('HEXISTS', claims_key, field) == 1
    else
      if kind ~= 'D' then raw = redis.call('HGET', claims_key, field) end
      ours = redis.call('HDEL', claims_key, field) == 1
    end
    if not ours then
      refused[#refused + 1] = settled
    elseif kind == 'C' then
      redis.call('HDEL', KEYS[base + 3], (tag_of(raw)))
    elseif kind == 'r' then
      put_back(base, field, raw)
    elseif kind == 'q' then
      local count = 1
      if redis.call('EXISTS', KEYS[base + 3]) == 1 then
        local tag = tag_of(raw)
        count = count + (tonumber(redis.call('HGET', KEYS[base + 3], tag)) or 0)
        redis.call('HDEL', KEYS[base + 3], tag)
      end
      set_aside(KEYS[base + 6], now, list_index_of(field), ARGV[at + 3], count, ARGV[at + 4], raw)
    end
    at = read_effects(at + 3 + EXTRA[kind], ours, KEYS[base + 6])
  end
  settled = settled + 1
end

-- what is due, what the dead hold -------------------------------------------------------------------

local next_due, next_end = -1, -2
if ARGV[6] == '1' then next_end = -1 end

for q = 0, queues - 1 do
  local base = 1 + q * width
  local due = move_due(KEYS[base + 4], KEYS[base + 5], lists_of(base), now, 200)
  if due then
    due = math.max(0, due - now)
    if next_due < 0 or due < next_due then next_due = due end
  end
  if ARGV[6] == '1' then
    local prefix = string.sub(KEYS[base + 2], 1, -#me - 1)
    rescue(KEYS[base + 1], prefix, lists_of(base), KEYS[base + 3], me, now, 200)
    local ends = redis.call('ZRANGE', KEYS[base + 1], 0, 1, 'WITHSCORES')
    for i = 1, #ends, 2 do
      local left = math.max(0, tonumber(ends[i + 1]) - now)
      if ends[i] ~= me and (next_end < 0 or left < next_end) then next_end = left end
    end
  end
end

-- claim -------------------------------------------------------------------------------------------

local claimed, counts, registered = {}, {}, {}
local fields = {}
for q = 0, queues - 1 do fields[q] = {} end

local function take(q, list_index, wanted)
  local got = redis.call('RPOP', KEYS[2 + q * width + 6 + list_index], wanted)
  if not got then return 0 end
  local run, flat = {q, list_index}, fields[q]
  for i, raw in ipairs(got) do
    run[i + 2] = raw
    flat[#flat + 1] = number .. ':' .. list_index
    flat[#flat + 1] = raw
    number = number + 1
  end
  claimed[#claimed + 1] = run
  return #got
end

if limit > 0 then
  local turn = tonumber(ARGV[5])
  for list_index = 0, per_queue - 1 do
    local waiting = {}
    for i = 0, queues - 1 do waiting[#waiting + 1] = (turn + i) % queues end
    -- Queues take turns: each gives an equal part, until the limit or until all are empty.
    while limit > 0 and #waiting > 0 do
      local part, still = math.ceil(limit / #waiting), {}
      for _, q in ipairs(waiting) do
        local wanted = math.min(part, limit)
        if wanted > 0 then
          local got = take(q, list_index, wanted)
          limit = limit - got
          if got == wanted then still[#still + 1] = q end
        end
      end
      waiting = still
    end
    if limit == 0 then break end
  end
end

if ARGV[10] == '1' and #claimed == 0 then
  for q = 0, queues - 1 do redis.call('EXISTS', unpack(lists_of(1 + q * width))) end
end

local index = 0
for q = 0, queues - 1 do
  local flat, base = fields[q], 1 + q * width
  if #flat > 0 then
    for from = 1, #flat, 1000 do
      redis.call('HSET', KEYS[base + 2], unpack(flat, from, math.min(from + 999, #flat)))
    end
    local ends = string.format('%.0f', now + lease)
    if redis.call('ZADD', KEYS[base + 1], ends, me) == 1 then registered[#registered + 1] = q end
  end
end
for _, run in ipairs(claimed) do
  local deliveries_key = KEYS[1 + run[1] * width + 3]
  if redis.call('EXISTS', deliveries_key) == 1 then
    for i = 3, #run do
      local count = redis.call('HGET', deliveries_key, (tag_of(run[i])))
      if count then
        counts[#counts + 1] = index + i - 3
        counts[#counts + 1] = tonumber(count) + 1
      end
    end
  end
  index = index + #run - 2
end

local version = redis.call('GET', KEYS[1]) or '0'

-- results, which may lie in another database; then what follows the joins ---------------------------

local due = {}
if #records > 0 or #joins > 0 then
  if ARGV[8] ~= '' then redis.call('SELECT', ARGV[8]) end
  for i = 1, #records, 3 do store_record(records[i], records[i + 1], records[i + 2]) end
  for _, each in ipairs(joins) do perform_joins(each[1], each[2], false, due) end
  if ARGV[8] ~= '' then redis.call('SELECT', ARGV[7]) end
  for i = 1, #due, 2 do send(due[i], due[i + 1], KEYS[7]) end
end

return {version, registered, next_due, next_end, refused, counts, claimed}
