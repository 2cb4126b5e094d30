-- Kinds of answers. Whatever else reads answers comes after this.

local find, sub = string.find, string.sub

local function is_stream(headers)
  return sub(headers:get("content-type") or "", 1, 17):lower() == "text/event-stream"
end
