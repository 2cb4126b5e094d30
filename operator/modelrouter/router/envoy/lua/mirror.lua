-- Copies of requests, on their way to the mirror's pool and back to nobody. `answer.lua` goes before
-- this.

local MOST_PROMPT = 262144

envoy_on_request = ending(function(h)
  local headers = h:headers()
  local hash = headers:get("x-mr-hash")
  local state = h:streamInfo():filterState()
  if hash then state:set("mr.hash", "envoy.hashable_string", hash) end
  -- For the access log: the filters of the pool remove the headers.
  state:set("mr.route", "envoy.string", headers:get("x-mr-mirror-route") or "")
  state:set("mr.mirror", "envoy.string", headers:get("x-mr-mirror") or "")
  local how = headers:get("x-mr-mirror-how") or ""
  local usage, compares = find(how, "u", 1, true), find(how, "c", 1, true)
  if not (usage or compares) then return end
  local id = headers:get("x-request-id")
  local metadata = h:streamInfo():dynamicMetadata()
  if usage then metadata:set("mr.usage", "by", "listener") end
  if not compares then return end
  metadata:set("mr.compared", "id", id)
  local told = {
    ["x-mr-mirror-pool"] = headers:get("x-mr-mirror-pool"),
    ["x-mr-mirror-route"] = headers:get("x-mr-mirror-route"),
    ["x-mr-mirror-how"] = how,
    ["x-mr-path"] = headers:get(":path"),
  }
  local body = h:body()
  local size = body and body:length() or 0
  if size > MOST_PROMPT then size, told["x-mr-cut"] = MOST_PROMPT, "1" end
  tell_agent(h, "/prompt", id, size > 0 and body:getBytes(0, size) or "", told)
end)

envoy_on_response = ending(function(h)
  local headers = h:headers()
  local kind = headers:get("content-type") or ""
  local metadata = h:streamInfo():dynamicMetadata()
  local compared = metadata:get("mr.compared")
  local id = compared and compared["id"]
  local tells, streamed = told_here(h, kind)
  if not (tells or id) then return streamed and FORGOTTEN end
  local told = id and { ["x-mr-status"] = headers:get(":status"), ["content-type"] = kind }
  local text = read_answer(h, tells, id ~= nil)
  if id then tell_agent(h, "/mirror", id, text, told) end
end)
