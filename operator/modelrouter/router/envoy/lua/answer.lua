-- Reads an answer as it passes: the tokens that it says it used, for the access log, and its text if
-- it is compared. Models tell the tokens at the end, so only the last bytes are looked at: a JSON
-- parser would read every event of a stream.

local TAIL = 1024
local MOST_TEXT = 262144

local function read_answer(h, tells_usage, wants_text)
  local first, second, third = "", "", "" -- joining them only once, this runs for every event
  local texts, room = {}, wants_text and MOST_TEXT or 0
  for chunk in h:bodyChunks() do
    local size = chunk:length()
    if size > 0 then
      first, second = second, third
      third = size > TAIL and chunk:getBytes(size - TAIL, TAIL) or chunk:getBytes(0, size)
      if room > 0 then
        texts[#texts + 1] = chunk:getBytes(0, size < room and size or room)
        room = room - size
      end
    end
  end
  local text = wants_text and table.concat(texts) or nil
  if not tells_usage then return text end
  local tail = first .. second .. third
  -- Unescaped quotes cannot be part of a text, so this is a key.
  local at, last = find(tail, '"usage"', 1, true), nil
  while at do
    last, at = at, find(tail, '"usage"', at + 1, true)
  end
  if not last then return text end
  local prompt = tail:match('"prompt_tokens"%s*:%s*(%d+)', last)
  local completion = tail:match('"completion_tokens"%s*:%s*(%d+)', last)
  if not (prompt or completion) then return text end
  h:streamInfo():dynamicMetadata():set("mr.tokens", "used", (prompt or "") .. "/" .. (completion or ""))
  return text
end

local PAIRS_OPTIONS = { asynchronous = true, timeout_ms = 1000, send_xff = false }

-- Gives the agent a part of what it compares. Nothing waits for this.
local function tell_agent(h, part, id, text, told)
  local headers = { [":method"] = "POST", [":path"] = part, [":authority"] = "agent", ["x-request-id"] = id }
  for name, value in pairs(told) do headers[name] = value end
  h:httpCall("_pairs", headers, text, PAIRS_OPTIONS)
end
