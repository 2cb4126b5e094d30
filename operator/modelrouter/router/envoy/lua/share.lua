-- Applies a decision to other requests that it holds for as well, for the moment that the agent
-- gave it (`x-mr-share`): most requests differ in nothing that their route looks at, and asking
-- about each would cost more than all the rest. Each is still placed by its own key and the
-- weights, by the same hash that the agent uses (`policy/rendezvous.py`).
--
-- Only what can be recognised beyond doubt and without reading the whole body takes part; all other
-- requests are asked about. What is no JSON below its first level is left to the model's server.

local bit = require("bit")
local band, bxor, rshift = bit.band, bit.bxor, bit.rshift

local CRC = {}
for n = 0, 255 do
  local c = n
  for _ = 1, 8 do c = band(c, 1) == 1 and bxor(rshift(c, 1), 0xEDB88320) or rshift(c, 1) end
  CRC[n] = c
end

local function hashed(key)
  local c = -1
  for n = 1, #key do c = bxor(rshift(c, 8), CRC[band(bxor(c, byte(key, n)), 255)]) end
  return bxor(c, -1)
end

-- The lower 32 bits of a product, without the rounding of a double.
local function multiply(a, b)
  local high = rshift(a, 16) * b % 65536
  return bit.tobit(band(a, 65535) * b + high * 65536)
end

local function fraction(salt, key)
  local mixed = bxor(salt, key)
  mixed = multiply(bxor(mixed, rshift(mixed, 16)), 0x85EBCA6B)
  mixed = multiply(bxor(mixed, rshift(mixed, 13)), 0xC2B2AE35)
  mixed = bxor(mixed, rshift(mixed, 16)) % 4294967296
  return (mixed + 0.5) / 4294967296
end

local function score(salt, key, weight) return -weight / math.log(fraction(salt, key)) end

-- A member of the top level that has nothing but flat ones behind it, up to the end of the body.
local FLAT_END = "^[^{}%[%]]*}[ \t\r\n]*$"

local HEADS = {
  '^{"model": ?"([^"\\%c]+)", ?"messages": ?%[{',
  '^{"messages": ?%[{()',
}
local OPTIONS_OF_STREAM = '"stream_options"[ \t\r\n]*:[ \t\r\n]*%b{}'

-- The commonest shape: texts in `messages`, and nothing but flat members before and behind. All that
-- is looked for begins with a byte that is rare in texts, and only that makes it fast: brackets
-- cannot be written otherwise, and behind a quote within a text there is always a backslash.
local function simply_asked_for(text)
  local _, head, model = find(text, HEADS[1])
  if not head then
    _, head = find(text, HEADS[2])
    model = nil
  end
  if not head or find(text, "[{", head + 1, true) or find(text, "[ ", 1, true) or find(text, ":{", 1, true)
    or find(text, ": {", 1, true) or find(text, ":  ", 1, true) or find(text, "\n", 1, true)
    or find(text, "\t", 1, true) or find(text, "\r", 1, true) then
    return nil
  end
  local stop = find(text, "}]", head + 1, true)
  if not stop then return nil end
  local tail = sub(text, stop + 2)
  if not find(tail, FLAT_END) or find(tail, "\\", 1, true) then return nil end
  local from, to
  if model then
    if find(tail, '"model"', 1, true) then return nil end
    from = find(text, '"', 9, true)
    to = from + #model + 1
  else
    local at = find(tail, '"model"', 1, true)
    if not at or find(tail, '"model"', at + 7, true) then return nil end
    local start, last, name = find(tail, '^: ?"([^"%c]+)"', at + 7)
    if not start then return nil end
    model, to = name, stop + 1 + last
    from = to - #name - 1
  end
  local flag, streamed = find(tail, '"stream"', 1, true), false
  if flag then
    local value = tail:match("^: ?(%l+)", flag + 8)
    if value ~= "true" and value ~= "false" or find(tail, '"stream"', flag + 8, true) then return nil end
    streamed = value == "true"
  end
  local tokens, limit = 0, find(tail, '_tokens"', 1, true)
  if limit then
    tokens = tonumber(tail:match("^: ?(%d+)", limit + 8))
    if not tokens or find(tail, '_tokens"', limit + 8, true) then return nil end
  end
  return model, from, to, streamed, tokens, true
end

-- What a request asks for: model, position of its value, whether streamed, the number of tokens
-- asked for, and whether it surely needs no feature. Nil when that takes more than a look.
local function asked_for(text)
  local simple, start, stop, is_streamed, most = simply_asked_for(text)
  if simple then return simple, start, stop, is_streamed, most, true end
  local at = find(text, '"model"', 1, true)
  if not at or find(text, '"model"', at + 7, true) then return nil end
  -- Keys might be written with escapes of letters.
  if find(text, "\\u00", 1, true) and (find(text, "\\u006", 1, true) or find(text, "\\u007", 1, true)) then return nil end
  if find(text, '_audio"', 1, true) or find(text, '"audio"', 1, true) then return nil end
  local from, to, model = find(text, '^[ \t\r\n]*:[ \t\r\n]*"([^"\\%c]+)"', at + 7)
  if not from then return nil end
  from = to - #model - 1
  local streamed, flag = false, find(text, '"stream"', 1, true)
  local rest = sub(text, math.max(at, flag or 0))
  local head = find(text, '^[ \t\r\n]*{[ \t\r\n]*"model"')
  if flag then
    local tail = sub(text, flag + 8):gsub(OPTIONS_OF_STREAM, "", 1)
    local value, behind = tail:match("^[ \t\r\n]*:[ \t\r\n]*(%l+)(.*)$")
    if not value or not find(behind, FLAT_END) or find(text, '"stream"', flag + 8, true) then return nil end
    if value ~= "true" and value ~= "false" then return nil end
    streamed = value == "true"
    if not head and at < flag and not find(sub(text, to + 1, flag - 1), "^[^{}%[%]]*$") then return nil end
    if not head and at > flag and not find(rest, '^"model"' .. sub(FLAT_END, 2)) then return nil end
  elseif head then
    if not find(text, "}[ \t\r\n]*$", -8) then return nil end
  elseif not find(rest, '^"model"' .. sub(FLAT_END, 2)) then
    return nil
  end
  local tokens, limit = 0, find(text, '_tokens"', 1, true)
  if limit then
    tokens = tonumber(text:match("^[ \t\r\n]*:[ \t\r\n]*(%d+)", limit + 8))
    if not tokens or find(text, '_tokens"', limit + 8, true) then return nil end
  end
  return model, from, to, streamed, tokens, false
end

-- What shows by its mere presence that a request might need a feature.
local NEEDLES = {
  t = { '"functions"', '"tools"' },
  j = { '"response_format"' },
  i = { "mage_url", "_image" },
}

local function needles_of(letters)
  local needles = {}
  for letter in letters:gmatch(".") do
    for _, needle in ipairs(NEEDLES[letter] or {}) do needles[#needles + 1] = needle end
  end
  return needles
end

local function needs_any(text, needles)
  -- Nothing but functions comes without one.
  local typed = find(text, '"type"', 1, true)
  for n = 1, #needles do
    local needle = needles[n]
    if (typed or needle == '"functions"') and find(text, needle, 1, true) then return true end
  end
  return false
end

local shared, shared_count, MOST_SHARED = {}, 0, 4096
local RENEWAL_MS = 10
local ASKING_MS = 5
local ASK, WAIT = 1, 2

local function values_of(headers, vary)
  local text = ""
  for n = 1, #vary do text = text .. (headers:get(vary[n]) or "") .. "\n" end
  return text
end

local function now(h) return tonumber(h:timestamp()) end

-- What is said of the request's copy, if it is one of those that are copied.
local function copied(headers, mirror)
  if mirror.percent < 100 then
    local key = hashed(headers:get("x-request-id") or "")
    if 100 * fraction(mirror.salt, key) >= mirror.percent then return nil end
  end
  return mirror.words
end

-- The plan of a decision that holds for this request, and what is said of a copy; or nil. What comes
-- after that is for requests that met a decision which holds no more: ASK or WAIT.
local function find_shared(h, headers, kind, text, tokens, featureless)
  local common = shared[kind]
  local entry = common and common.entries[values_of(headers, common.vary)]
  if not entry or #text / 2 + 16 + tokens > entry.most_tokens
    or #entry.needles > 0 and not featureless and needs_any(text, entry.needles) then
    return nil
  end
  local moment = now(h)
  if moment > entry.until_ms then
    -- One request asks again, the others go on for the moment that this takes.
    if moment < entry.stale_ms then
      entry.until_ms = moment + RENEWAL_MS
      return nil
    end
    -- After a pause they may not: of many that come at once one asks, and the others wait for it.
    if moment < entry.asked_ms + ASKING_MS then return nil, nil, WAIT end
    entry.asked_ms = moment
    return nil, nil, ASK
  end
  local choices = entry.choices
  local mirror = entry.mirror
  if #choices == 1 then return choices[1].plan, mirror and choices[1].mirrors and copied(headers, mirror) end
  local key = entry.key_header ~= "" and headers:get(entry.key_header) or nil
  if not key or key == "" then key = headers:get("x-request-id") or "" end
  key = hashed(key)
  local best, chosen = 0, nil
  for n = 1, #choices do
    local choice = choices[n]
    local value = score(choice.salt, key, choice.weight)
    if value > best then best, chosen = value, choice end
  end
  return chosen.plan, mirror and chosen.mirrors and copied(headers, mirror)
end

local function kept_mirror(text)
  local percent, salt, words = (text or ""):match("^(%d+)|(%d+)|(.*)$")
  return percent and { percent = tonumber(percent), salt = bit.tobit(tonumber(salt)), words = words }
end

local function keep_shared(h, headers, kind, text, mirror_text)
  local lasts, most, features, key_header, vary_text, choices_text =
    text:match("^(%d+)|(%d+)|(%l*)|([^|]*)|([^|]*)|(.*)$")
  if not lasts then return end
  local vary, choices = {}, {}
  for name in vary_text:gmatch("[^,]+") do vary[#vary + 1] = name end
  for plan, weight, salt, mirrors in choices_text:gmatch("([^:,]+):(%d+):(%d+):?(1?)") do
    choices[#choices + 1] =
      { plan = plan, weight = tonumber(weight), salt = bit.tobit(tonumber(salt)), mirrors = mirrors == "1" }
  end
  if #choices == 0 then return end
  local common = shared[kind]
  if not common or common.vary_text ~= vary_text then
    common = { vary = vary, vary_text = vary_text, entries = {} }
    shared[kind] = common
  end
  shared_count = shared_count + 1
  if shared_count > MOST_SHARED then
    shared, shared_count = { [kind] = common }, 1
    common.entries = {}
  end
  common.entries[values_of(headers, vary)] = {
    until_ms = now(h) + tonumber(lasts),
    stale_ms = now(h) + 2 * tonumber(lasts),
    asked_ms = 0,
    most_tokens = tonumber(most),
    needles = needles_of(features),
    key_header = key_header,
    choices = choices,
    mirror = kept_mirror(mirror_text),
  }
end

-- What the agent no longer shares is not waited for.
local function forget_shared(headers, kind)
  local common = shared[kind]
  if common then common.entries[values_of(headers, common.vary)] = nil end
end
