-- Holds the headers of a streamed answer until `peek.lua` has seen its first event. If that is an
-- error, the headers go on with the error's status: then Envoy tries again, counts a failure of the
-- endpoint and ejects it, as with any answer that is no stream.
--
-- Envoy's Lua holds headers while a call is under way, and goes on holding them when the script waits
-- for a chunk of the body after that. The call itself has no other use, and is answered at once.

local CALL = { [":method"] = "GET", [":path"] = "/", [":authority"] = "instant" }
local OPTIONS = { timeout_ms = 1000, send_xff = false }

-- What became of the first event, or nil. It is looked up anew each time: nothing that was taken
-- from `h` is of any use after a wait.
local function seen(h)
  local first = h:streamInfo():dynamicMetadata():get("mr.first")
  local event = first and first["event"]
  return event ~= "" and event or nil
end

envoy_on_response = ending(function(h)
  local headers = h:headers()
  if not is_stream(headers) or headers:get(":status") ~= "200" then return end
  -- All attempts share their metadata.
  if seen(h) then h:streamInfo():dynamicMetadata():set("mr.first", "event", "") end
  h:httpCall("@INSTANT@", CALL, nil, OPTIONS)
  local event = seen(h)
  if not event then
    local begun, chunks = pcall(h.bodyChunks, h)
    if not begun then return FORGOTTEN end -- the answer has ended, and it was empty
    for _ in chunks do
      event = seen(h)
      if event then break end
    end
  end
  if not event or event == "good" then return FORGOTTEN end
  headers = h:headers()
  headers:replace(":status", event)
  headers:replace("content-type", "application/json")
  headers:remove("content-length")
  local metadata = h:streamInfo():dynamicMetadata()
  local before = metadata:get("mr.failed")
  local pool = h:filterContext():get("pool")
  metadata:set("mr.failed", "pools", before and before["pools"] .. "," .. pool or pool)
end)
