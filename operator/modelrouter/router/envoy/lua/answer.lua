-- Reads an answer as it passes: the tokens that it says it used, for the access log, and its text if
-- it is compared. Models tell the tokens at the end, so only the last bytes are looked at: a JSON
-- parser would read every event of a stream.

local TAIL = 1024
local MOST_TEXT = 262144

-- Keeps the last three chunks, or what counts of them. Joining them waits for the end: this runs for
-- every event.
local function keep_end(last, chunk, size)
  last[1], last[2] = last[2], last[3]
  last[3] = size > TAIL and chunk:getBytes(size - TAIL, TAIL) or chunk:getBytes(0, size)
end

local function tell_tokens(h, last)
  local tail = last[1] .. last[2] .. last[3]
  -- Unescaped quotes cannot be part of a text, so this is a key.
  local at, found = find(tail, '"usage"', 1, true), nil
  while at do
    found, at = at, find(tail, '"usage"', at + 1, true)
  end
  if not found then return end
  local prompt = tail:match('"prompt_tokens"%s*:%s*(%d+)', found)
  local completion = tail:match('"completion_tokens"%s*:%s*(%d+)', found)
  if not (prompt or completion) then return end
  h:streamInfo():dynamicMetadata():set("mr.tokens", "used", (prompt or "") .. "/" .. (completion or ""))
end

-- Whether the tokens of this stream are read here: its pool's scripts do that ("pool"), unless those
-- of the listener are there anyway ("listener").
local function reads_tokens(h, place)
  local usage = h:streamInfo():dynamicMetadata():get("mr.usage")
  return usage ~= nil and usage["by"] == place
end

-- Of an answer of this kind: whether its tokens are read at the listener, and whether it is a stream.
local function told_here(h, kind)
  if find(kind, "event-stream", 1, true) then return reads_tokens(h, "listener"), true end
  return find(kind, "json", 1, true) ~= nil, false
end

local function read_answer(h, tells_usage, wants_text)
  local last = { "", "", "" }
  local texts, room = {}, wants_text and MOST_TEXT or 0
  for chunk in h:bodyChunks() do
    local size = chunk:length()
    if size > 0 then
      keep_end(last, chunk, size)
      if room > 0 then
        texts[#texts + 1] = chunk:getBytes(0, size < room and size or room)
        room = room - size
      end
    end
  end
  if tells_usage then tell_tokens(h, last) end
  return wants_text and table.concat(texts) or nil
end

local PAIRS_OPTIONS = { asynchronous = true, timeout_ms = 1000, send_xff = false }

-- Gives the agent a part of what it compares. Nothing waits for this.
local function tell_agent(h, part, id, text, told)
  local headers = { [":method"] = "POST", [":path"] = part, [":authority"] = "agent", ["x-request-id"] = id }
  for name, value in pairs(told) do headers[name] = value end
  h:httpCall("_pairs", headers, text, PAIRS_OPTIONS)
end
