-- Reads the answers that clients get: see `answer.lua`. Plans for streams leave this out unless they
-- are copied (`routes.py`): a script costs Envoy a microsecond per event even when it is done.

function envoy_on_response(h)
  local kind = h:headers():get("content-type") or ""
  local id
  if compared_ever then
    local compared = h:streamInfo():dynamicMetadata():get("mr.compared")
    id = compared and compared["id"]
  end
  local tells
  if find(kind, "event-stream", 1, true) then
    tells = reads_tokens(h, "listener")
  else
    tells = find(kind, "json", 1, true) ~= nil
  end
  if not (tells or id) then return end
  local told = id and { ["x-mr-status"] = h:headers():get(":status"), ["content-type"] = kind }
  local text = read_answer(h, tells, id ~= nil)
  if id then tell_agent(h, "/original", id, text, told) end
end
