-- Functions: the headers of chords, counted as Celery's own processes count them. No operation of
-- its own.
--
-- For a group's key g (Celery 5.7's layout): g.s how many slots, g.t how many more, g.j the parts
-- (sorted set, by slot), g.d who filled which ("<task id>:<slot>"), g.c who goes on with the body,
-- and "done" once that is over.
-- Invariants: a slot counts once; whoever takes g.c, and nobody else, goes on with the body. An
-- Umbel store takes it for the message that it enqueues in the same step.

local OURS = 'umbel'

local function slots_of(g)
  local size = redis.call('GET', g .. '.s')
  if not size then return nil end
  return tonumber(size) + tonumber(redis.call('GET', g .. '.t') or '0')
end

local function parts_in(g)
  local count = redis.pcall('ZCARD', g .. '.j')
  if type(count) == 'number' then return count end
  return redis.call('LLEN', g .. '.j') -- peers whose chords are not ordered keep a list
end

-- The members as a JSON text of Celery's result tuples, to be put inside another JSON text.
local function members_text(g)
  local found = {}
  for i, each in ipairs(redis.call('SMEMBERS', g .. '.d')) do
    local id, slot = string.match(each, '^(.*):([^:]+)$')
    local at = slot == '+inf' and math.huge or tonumber(slot) or math.huge
    found[i] = {at, {{id, cjson.null}, cjson.null}}
  end
  table.sort(found, function(a, b) return a[1] < b[1] end)
  for i, each in ipairs(found) do found[i] = each[2] end
  if #found == 0 then return '[]' end
  return string.sub(cjson.encode(cjson.encode(found)), 2, -2)
end

local function put_part(g, score, part)
  local reply = redis.pcall('ZADD', g .. '.j', score, part)
  if type(reply) == 'table' and reply.err then redis.call('RPUSH', g .. '.j', part) end
end

local function keep_join(g, life)
  for _, suffix in ipairs({'.j', '.s', '.t', '.d'}) do
    if life == '' then
      redis.call('PERSIST', g .. suffix)
    else
      redis.call('PEXPIRE', g .. suffix, life)
    end
  end
end

-- Returns the message that is due, or nil. `again`: also where the join was complete before.
local function fill_slot(g, member, score, part, life, head, tail, again)
  local taken = redis.call('GET', g .. '.c')
  if taken == 'done' then return nil end
  local new = redis.call('SADD', g .. '.d', member) == 1
  if new then put_part(g, score, part) end
  keep_join(g, life)
  if not new and not again then return nil end
  local wanted = slots_of(g)
  if not wanted or parts_in(g) < wanted then return nil end
  if not redis.call('SET', g .. '.c', OURS, 'NX') and not (again and taken == OURS) then return nil end
  if tail == '' then return head end
  return head .. members_text(g) .. tail
end

-- Performs the steps that begin at ARGV[at]; returns where the next argument is. What is due is
-- appended to `due`: queue's list or number, message.
--   o key size life   g key by   c key life   f key member score part life place head tail
-- a life is in ms, '' for ever
local function perform_joins(at, count, again, due)
  for _ = 1, count do
    local kind, g = ARGV[at], ARGV[at + 1]
    if kind == 'o' then
      if ARGV[at + 3] == '' then
        redis.call('SET', g .. '.s', ARGV[at + 2])
      else
        redis.call('SET', g .. '.s', ARGV[at + 2], 'PX', ARGV[at + 3])
      end
      if redis.call('GET', g .. '.c') ~= OURS then redis.call('DEL', g .. '.c') end
      at = at + 4
    elseif kind == 'g' then
      redis.call('INCRBY', g .. '.t', ARGV[at + 2])
      at = at + 3
    elseif kind == 'c' then
      redis.call('DEL', g .. '.j', g .. '.t', g .. '.s', g .. '.d')
      redis.call('SET', g .. '.c', 'done', 'PX', ARGV[at + 2])
      at = at + 3
    else
      local message = fill_slot(g, ARGV[at + 2], ARGV[at + 3], ARGV[at + 4], ARGV[at + 5],
        ARGV[at + 7], ARGV[at + 8], again)
      if message then
        due[#due + 1] = ARGV[at + 6]
        due[#due + 1] = message
      end
      at = at + 9
    end
  end
  return at
end

local function skip_joins(at, count)
  local SIZES = {o = 4, g = 3, c = 3, f = 9}
  for _ = 1, count do at = at + SIZES[ARGV[at]] end
  return at
end
