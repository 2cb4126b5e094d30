-- Notes the tokens that an answer says it used, for the access log. Models tell that at the end, so
-- only the last bytes are looked at: a JSON parser would read every event of a stream. A stream tells
-- it only to clients that ask, and the others are spared the look at every event.

local TAIL = 1024

function envoy_on_response(h)
  local kind = h:headers():get("content-type") or ""
  if find(kind, "event-stream", 1, true) then
    if not h:streamInfo():dynamicMetadata():get("mr.usage") then return end
  elseif not find(kind, "json", 1, true) then
    return
  end
  local first, second, third = "", "", "" -- joining them only once, this runs for every event
  for chunk in h:bodyChunks() do
    local size = chunk:length()
    if size > 0 then
      first, second = second, third
      third = size > TAIL and chunk:getBytes(size - TAIL, TAIL) or chunk:getBytes(0, size)
    end
  end
  local tail = first .. second .. third
  -- Unescaped quotes cannot be part of a text, so this is a key.
  local at, last = find(tail, '"usage"', 1, true), nil
  while at do
    last, at = at, find(tail, '"usage"', at + 1, true)
  end
  if not last then return end
  local prompt = tail:match('"prompt_tokens"%s*:%s*(%d+)', last)
  local completion = tail:match('"completion_tokens"%s*:%s*(%d+)', last)
  if not (prompt or completion) then return end
  local metadata = h:streamInfo():dynamicMetadata()
  if prompt then metadata:set("usage", "prompt_tokens", tonumber(prompt)) end
  if completion then metadata:set("usage", "completion_tokens", tonumber(completion)) end
end
