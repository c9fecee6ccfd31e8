-- Functions: what scripts need to know about the inside of an envelope. No operation of its own.
-- Invariant: an envelope is never decoded and encoded again, which would change numbers and empty
-- lists; it is only searched, and one flag is put in.

-- Find the last place where a pattern matches outside of any text of the envelope. Properties stand
-- last in kombu's envelopes, so looking at the end first spares reading a large body.
local function find_last(raw, pattern)
  local from = math.max(1, #raw - 2048)
  while true do
    local first, last, found
    local at = from
    while true do
      local s, e, capture = string.find(raw, pattern, at)
      if not s then break end
      -- Inside a JSON text a quote follows a backslash: not a key.
      if s == 1 or string.byte(raw, s - 1) ~= 92 then first, last, found = s, e, capture end
      at = e + 1
    end
    if first or from == 1 then return first, last, found end
    from = 1
  end
end

-- The name that a message keeps through all its deliveries, and true; or its digest, and false.
local function tag_of(raw)
  local _, _, tag = find_last(raw, '"delivery_tag"%s*:%s*"([^"\\]*)"')
  if tag and #tag > 0 then return tag, true end
  return redis.sha1hex(raw), false
end

-- Say in the envelope that the message was delivered before, as kombu does.
local function mark_redelivered(raw)
  local _, last = find_last(raw, '"delivery_info"%s*:%s*{')
  if not last then return raw end
  local rest = string.sub(raw, last + 1, last + 200)
  if string.find(rest, '"redelivered"%s*:') then return raw end
  local comma = string.find(rest, '^%s*}') and '' or ', '
  return string.sub(raw, 1, last) .. '"redelivered": true' .. comma .. string.sub(raw, last + 1)
end
