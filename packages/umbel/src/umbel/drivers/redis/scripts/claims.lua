-- Functions: claims going back to their lists. No operation of its own.
-- Invariant: a claim is a field of exactly one owner's hash; it leaves the hash in the same script
-- that puts its envelope somewhere else. Fields are `<number>:<index of the list>`, numbers rising.

local DELIVERIES_LIFE = 604800 -- seconds; counts of messages that somebody else settled go by then

local function list_index_of(field)
  return tonumber(string.match(field, ':(%d+)$')) or 0
end

-- Note that a claim ended without an outcome, and return the envelope to put back.
local function count_delivery(deliveries_key, raw)
  local tag, lasting = tag_of(raw)
  redis.call('HINCRBY', deliveries_key, tag, 1)
  redis.call('EXPIRE', deliveries_key, DELIVERIES_LIFE)
  -- What is known by its digest must stay as it is.
  return lasting and mark_redelivered(raw) or raw
end

-- Put these claims (field, envelope, field, envelope, ...) to the front of their lists, so that the
-- one claimed first comes first again.
local function return_claims(claims_key, lists, flat, deliveries_key)
  local order = {}
  for i = 1, #flat, 2 do
    order[#order + 1] = {tonumber(string.match(flat[i], '^%d+')) or 0, flat[i], flat[i + 1]}
  end
  table.sort(order, function(a, b) return a[1] > b[1] end)
  for _, claim in ipairs(order) do
    local raw = claim[3]
    if deliveries_key then raw = count_delivery(deliveries_key, raw) end
    redis.call('RPUSH', lists[list_index_of(claim[2]) + 1] or lists[1], raw)
    redis.call('HDEL', claims_key, claim[2])
  end
end

-- Rescue what owners whose lease has ended still hold; at most about `most` claims.
-- The hash is first renamed, so a late owner finds none of its claims rather than some of them; the
-- new name is entered as an owner that is dead already, so that the rest is rescued by later calls.
local function rescue(owners_key, claims_prefix, lists, deliveries_key, me, now, most)
  local dead = redis.call('ZRANGEBYSCORE', owners_key, '-inf', string.format('%.0f', now),
    'LIMIT', 0, 4)
  for _, owner in ipairs(dead) do
    if owner ~= me and most > 0 then
      local claims_key = claims_prefix .. owner
      local held = redis.call('HLEN', claims_key)
      redis.call('ZREM', owners_key, owner)
      local flat
      if held <= most then
        flat = redis.call('HGETALL', claims_key)
      else
        local renamed = owner
        if string.sub(owner, 1, 1) ~= '~' then
          renamed = '~' .. owner .. '~' .. string.format('%.0f', now)
          redis.call('RENAME', claims_key, claims_prefix .. renamed)
          claims_key = claims_prefix .. renamed
        end
        redis.call('ZADD', owners_key, 0, renamed)
        flat = redis.call('HSCAN', claims_key, 0, 'COUNT', most)[2]
      end
      return_claims(claims_key, lists, flat, deliveries_key)
      most = most - #flat / 2
    end
  end
end
