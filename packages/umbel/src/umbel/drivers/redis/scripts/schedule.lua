-- Change one entry of a timetable, if it stands where the scheduler thinks, and send what is due.
-- uses: resting
--
-- KEYS  1 entries, 2 version, then for each message: its list, and delayed, alarm of its queue
-- ARGV  1 name, 2 the revision it must stand at (0: it is not there), 3 the entry, or '' to drop it,
--       then for each message: due in ms or '', index of its list, envelope
-- Returns 1 when it was done, 0 when it stands elsewhere
--
-- Invariants: an entry is kept as its revision, a colon and the document; a revision is a version
-- that was never given before; message and entry change in one step.
local known = redis.call('HGET', KEYS[1], ARGV[1])
local revision = '0'
if known then revision = string.sub(known, 1, string.find(known, ':', 1, true) - 1) end
if revision ~= ARGV[2] then return 0 end
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
for m = 0, (#KEYS - 2) / 3 - 1 do
  local list, delayed, alarm = KEYS[3 + 3 * m], KEYS[4 + 3 * m], KEYS[5 + 3 * m]
  local due, index, raw = ARGV[4 + 3 * m], ARGV[5 + 3 * m], ARGV[6 + 3 * m]
  if due == '' or tonumber(due) <= now then
    redis.call('LPUSH', list, raw)
  else
    rest(delayed, alarm, due, index, raw, '')
  end
end
-- A server that forgot the version must not count from where it has been before.
if redis.call('EXISTS', KEYS[2]) == 0 then redis.call('SET', KEYS[2], string.format('%.0f', now)) end
local version = redis.call('INCR', KEYS[2])
if ARGV[3] == '' then
  redis.call('HDEL', KEYS[1], ARGV[1])
else
  redis.call('HSET', KEYS[1], ARGV[1], string.format('%.0f', version) .. ':' .. ARGV[3])
end
return 1
