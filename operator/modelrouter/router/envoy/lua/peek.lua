-- Looks at the first event of a streamed answer and notes it in `mr.first` for `hold.lua`: "good", or
-- the status that an error stands for. Then it is forgotten, whatever else is streamed, unless
-- the client asked for the tokens used: see `answer.lua`.
--
-- A vLLM whose engine died answers 200 and only then `data: {"error": …, "code": 500}`.

local match = string.match
local MARK = 64 -- bytes that tell whether it is an error

-- A quote behind a backslash is part of the message.
local function status_of(error)
  return match(error, '.*[^\\]"code" ?: ?"?([45]%d%d)"? ?[,}]') or "500"
end

envoy_on_response = ending(function(h)
  local headers = h:headers()
  if not is_stream(headers) then
    -- A server that does not stream although it was asked to.
    if find(headers:get("content-type") or "", "json", 1, true) then read_answer(h, true, false) end
    return
  end
  local last = reads_tokens(h, "pool") and { "", "", "" } or nil
  local first, failed, begun, open = true, false, false, false
  for chunk in h:bodyChunks() do
    local size = chunk:length()
    if first then
      first = false
      local text = chunk:getBytes(0, size < MARK and size or MARK)
      failed = find(text, '^data: ?{ ?"error" ?:') ~= nil
      open = failed
      local verdict = failed and status_of(chunk:getBytes(0, size)) or "good"
      h:streamInfo():dynamicMetadata():set("mr.first", "event", verdict)
      if not failed and not last then return FORGOTTEN end
    end
    if failed then
      -- An answer that is no stream is the error alone, however many reads it takes.
      local text = open and chunk:getBytes(0, size) or ""
      local from = begun and 1 or find(text, "{", 1, true)
      local line, stop = match(text, "^([^\r\n]*)([\r\n]?)", from)
      chunk:setBytes(line)
      begun, open = true, open and stop == ""
    elseif size > 0 then
      keep_end(last, chunk, size)
    end
  end
  if last and not failed then tell_tokens(h, last) end
end)
