-- Functions: writing result documents. No operation of its own.
-- Invariant: a document whose status is SUCCESS is never replaced; what is not written is not told.

-- Documents are JSON, pickle, YAML or MessagePack. In all of them the key `status` is followed by its
-- value within a few bytes; in Celery's and ours it is the first key.
local function is_success(document)
  local at = string.find(document, 'status', 1, true)
  return at and string.find(string.sub(document, at + 6, at + 24), 'SUCCESS', 1, true)
end

-- `life` in milliseconds; '0' is for ever.
local function store_record(key, document, life)
  local written
  if life == '0' then
    written = redis.call('SET', key, document, 'NX')
  else
    written = redis.call('SET', key, document, 'PX', life, 'NX')
  end
  if not written then
    -- pcall: somebody's key of another type is replaced, not a reason to stop halfway.
    local old = redis.pcall('GET', key)
    if type(old) == 'string' and is_success(old) then return end
    if life == '0' then
      redis.call('SET', key, document)
    else
      redis.call('SET', key, document, 'PX', life)
    end
  end
  redis.call('PUBLISH', key, document)
end
