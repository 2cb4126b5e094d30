-- Looks at the first event of a streamed answer and notes it in `mr.first` for `hold.lua`: "good", or
-- the status that an error stands for. Then this filter does nothing more, whatever else is streamed.
--
-- A vLLM whose engine died answers 200 and only then `data: {"error": …, "code": 500}`.

local find, match = string.find, string.match
local MARK = 64 -- bytes that tell whether it is an error

-- A quote behind a backslash is part of the message.
local function status_of(error)
  return match(error, '.*[^\\]"code" ?: ?"?([45]%d%d)"? ?[,}]') or "500"
end

function envoy_on_response(h)
  local failed, begun, open = false, false, false
  for chunk in h:bodyChunks() do
    local size = chunk:length()
    if not failed then
      local text = chunk:getBytes(0, size < MARK and size or MARK)
      failed = find(text, '^data: ?{ ?"error" ?:') ~= nil
      local verdict = "good"
      if failed then
        open = true
        verdict = status_of(chunk:getBytes(0, size))
      end
      h:streamInfo():dynamicMetadata():set("mr.first", "event", verdict)
      if not failed then return end
    end
    -- An answer that is no stream is the error alone, however many reads it takes.
    local text = open and chunk:getBytes(0, size) or ""
    local from = begun and 1 or find(text, "{", 1, true)
    local line, stop = match(text, "^([^\r\n]*)([\r\n]?)", from)
    chunk:setBytes(line)
    begun, open = true, open and stop == ""
  end
end
