-- Reads the answers that clients get: see `answer.lua`. Plans for streams leave this out unless they
-- are copied (`routes.py`): a filter takes part in every event, also when its script is forgotten.

envoy_on_response = ending(function(h)
  local kind = h:headers():get("content-type") or ""
  local id
  if compared_ever then
    local compared = h:streamInfo():dynamicMetadata():get("mr.compared")
    id = compared and compared["id"]
  end
  local tells, streamed = told_here(h, kind)
  if not (tells or id) then return streamed and FORGOTTEN end
  local told = id and { ["x-mr-status"] = h:headers():get(":status"), ["content-type"] = kind }
  local text = read_answer(h, tells, id ~= nil)
  if id then tell_agent(h, "/original", id, text, told) end
end)
