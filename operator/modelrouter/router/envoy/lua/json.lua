-- Reads the top level of a JSON object without decoding it, so that everything which is not
-- edited stays byte for byte as the client wrote it. Positions are 1-based and inclusive.

local byte, find, sub = string.byte, string.find, string.sub

local WHITESPACE = "[^ \t\r\n]"

-- The closing quote of the string whose opening quote is at `i`.
local function string_end(s, i)
  local j = i
  while true do
    j = find(s, '"', j + 1, true)
    if not j then return nil end
    local k = j - 1
    while byte(s, k) == 92 do k = k - 1 end
    if (j - k) % 2 == 1 then return j end -- an even number of backslashes before it
  end
end

local function value_end(s, i)
  local c = byte(s, i)
  if c == 34 then return string_end(s, i) end
  if c == 123 or c == 91 then
    local depth, j = 1, i
    repeat
      j = find(s, '["{}%[%]]', j + 1)
      if not j then return nil end
      c = byte(s, j)
      if c == 34 then
        j = string_end(s, j)
        if not j then return nil end
      elseif c == 123 or c == 91 then
        depth = depth + 1
      else
        depth = depth - 1
      end
    until depth == 0
    return j
  end
  local _, e = find(s, "^[%w%.%+%-]+", i)
  return e
end

local ESCAPES = { b = "\b", f = "\f", n = "\n", r = "\r", t = "\t" }

local function utf8(code)
  if code < 0x80 then return string.char(code) end
  if code < 0x800 then return string.char(0xC0 + math.floor(code / 64), 0x80 + code % 64) end
  if code < 0x10000 then
    return string.char(0xE0 + math.floor(code / 4096), 0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
  end
  return string.char(0xF0 + math.floor(code / 262144), 0x80 + math.floor(code / 4096) % 64,
    0x80 + math.floor(code / 64) % 64, 0x80 + code % 64)
end

-- The text of the JSON string between the quotes at `i` and `j`.
local function string_value(s, i, j)
  local text = sub(s, i + 1, j - 1)
  local at = find(text, "\\", 1, true)
  if not at then return text end
  local out, from = {}, 1
  while at do
    out[#out + 1] = sub(text, from, at - 1)
    local c = sub(text, at + 1, at + 1)
    from = at + 2
    if c == "u" then
      local code = tonumber(sub(text, from, from + 3), 16) or 0xFFFD
      from = from + 4
      if code >= 0xD800 and code < 0xDC00 and sub(text, from, from + 1) == "\\u" then
        local low = tonumber(sub(text, from + 2, from + 5), 16)
        if low and low >= 0xDC00 and low < 0xE000 then
          code = 0x10000 + (code - 0xD800) * 1024 + low - 0xDC00
          from = from + 6
        end
      end
      out[#out + 1] = utf8(code)
    else
      out[#out + 1] = ESCAPES[c] or c
    end
    at = find(text, "\\", from, true)
  end
  return table.concat(out) .. sub(text, from)
end

-- Calls `visit(key, key_start, key_end, value_start, value_end)` for every member of the object.
-- False when the text is no JSON object.
local function members(s, visit)
  local _, i = find(s, "^[ \t\r\n]*{")
  if not i then return false end
  i = find(s, WHITESPACE, i + 1)
  if not i then return false end
  if byte(s, i) == 125 then return not find(s, WHITESPACE, i + 1) end
  while true do
    if byte(s, i) ~= 34 then return false end
    local key_end = string_end(s, i)
    if not key_end then return false end
    local _, colon = find(s, "^[ \t\r\n]*:", key_end + 1)
    local start = colon and find(s, WHITESPACE, colon + 1)
    local stop = start and value_end(s, start)
    if not stop then return false end
    visit(string_value(s, i, key_end), i, key_end, start, stop)
    i = find(s, WHITESPACE, stop + 1)
    if not i then return false end
    if byte(s, i) == 125 then return not find(s, WHITESPACE, i + 1) end
    if byte(s, i) ~= 44 then return false end
    i = find(s, WHITESPACE, i + 1)
    if not i then return false end
  end
end
