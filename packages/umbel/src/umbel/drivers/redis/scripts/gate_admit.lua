-- Let claims run under limits that all workers share, or have them wait.
-- uses: gates
--
-- KEYS  1 leases of workers, 2 names of limits with waiting messages, 3 how many wait of each queue,
--       then for each queue: claims of this owner, its lists
-- ARGV  1 the worker, 2 prefix, 3 lists per queue, then for each claim: index of its queue, field, name
--       of the queue, task id, limit of concurrency or '', how many at once, rate or '', interval in ms
-- Returns for each claim: 0 when it may run, ms until its turn, -1 when it waits or is not ours
--
-- Invariant: what waits has left the claims in the same script. The first write may be refused when
-- memory is full; then nothing has happened.
local per_queue, prefix = tonumber(ARGV[3]), ARGV[2]
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local answers = {}

local function has_room(name, most)
  local holders = prefix .. 'holders:' .. name
  if redis.call('HLEN', holders) >= most then
    bury(prefix, KEYS[1], name, now)
    if redis.call('HLEN', holders) >= most then return false end
  end
  return redis.call('EXISTS', prefix .. 'waiting:' .. name) == 0
end

local function decide(at)
  local base, field, queue, task = 4 + tonumber(ARGV[at]) * (1 + per_queue), ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local hold, most, pace = ARGV[at + 4], tonumber(ARGV[at + 5]), ARGV[at + 6]
  local holders = prefix .. 'holders:' .. hold
  local raw = redis.call('HGET', KEYS[base], field)
  if not raw then return -1 end
  local holds = hold ~= '' and redis.call('HEXISTS', holders, task) == 1
  if hold ~= '' and not holds and not has_room(hold, most) then
    local list = KEYS[base + 1 + (tonumber(string.match(field, ':(%d+)$')) or 0)]
    redis.call('HDEL', KEYS[base], field)
    redis.call('RPUSH', prefix .. 'waiting:' .. hold, list .. '\n' .. queue .. '\n' .. task .. '\n' .. raw)
    redis.call('HSET', KEYS[2], hold, most)
    redis.call('HINCRBY', KEYS[3], queue, 1)
    let_go(prefix, KEYS[2], KEYS[3], hold, most, now)
    return -1
  end
  if pace ~= '' then
    local wait = turn(prefix, pace, tonumber(ARGV[at + 7]), now)
    if wait > 0 then
      if holds then
        redis.call('HDEL', holders, task)
        let_go(prefix, KEYS[2], KEYS[3], hold, most, now)
      end
      return wait
    end
  end
  if hold ~= '' then
    redis.call('HSET', holders, task, ARGV[1])
    redis.call('PEXPIRE', holders, HOLDERS_LIFE)
  end
  return 0
end

for at = 4, #ARGV, 8 do answers[#answers + 1] = decide(at) end
return answers
