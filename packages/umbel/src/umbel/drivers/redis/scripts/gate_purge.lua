-- Drop what waits for one limit and belongs to one queue.
--
-- KEYS  1 names of limits with waiting messages, 2 how many wait of each queue, 3 waiting of the limit
-- ARGV  1 the limit, 2 the queue
-- Returns how many there were
--
-- Invariant: what other queues wait for stays in its order.
local entries = redis.call('LRANGE', KEYS[3], 0, -1)
local dropped, kept = 0, {}
for _, entry in ipairs(entries) do
  if string.match(entry, '^[^\n]*\n([^\n]*)\n') == ARGV[2] then
    dropped = dropped + 1
  else
    kept[#kept + 1] = entry
  end
end
if dropped == 0 then return 0 end
redis.call('DEL', KEYS[3])
for _, entry in ipairs(kept) do redis.call('RPUSH', KEYS[3], entry) end
if #kept == 0 then redis.call('HDEL', KEYS[1], ARGV[1]) end
if redis.call('HINCRBY', KEYS[2], ARGV[2], -dropped) <= 0 then redis.call('HDEL', KEYS[2], ARGV[2]) end
return dropped
