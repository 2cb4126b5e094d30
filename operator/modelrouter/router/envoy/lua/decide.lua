-- Asks the agent what to do with a request and puts the answer where Envoy's router looks for it.
-- Without an answer the route's default chain is used. `json.lua` goes before this.

-- The answer to a call that never reached the agent is Envoy's own, in plain text.
local OPTIONS = { timeout_ms = @TIMEOUT_MS@, send_xff = false }

-- A call that is answered at once, within Envoy. The agent needs about as long as one or two of them.
local PAUSE = { [":method"] = "GET", [":path"] = "/", [":authority"] = "instant" }
local MOST_WAITS = 3

-- "1" where requests come in that have waited for their pool already; nobody else reaches that place.
local HELD = @HELD@

-- Keeps the answer from being taken for one of Envoy's own, which are reworded.
local function respond(h, headers, body)
  h:headers():replace("x-mr-answered", "1")
  h:respond(headers, body)
end

local function refuse(h, status, message, kind, param, code)
  param = param and '"' .. param .. '"' or "null"
  local headers = { [":status"] = status, ["content-type"] = "application/json" }
  if status == "503" then headers["retry-after"] = "1" end
  respond(h, headers, '{"error":{"message":"' .. message .. '","type":"' .. kind .. '","param":' .. param
    .. ',"code":"' .. code .. '"}}')
end

local function json_text(text)
  return (text:gsub('[%c"\\]', function(c) return string.format("\\u%04x", byte(c)) end))
end

local names, names_text = {}, ""

-- The request headers that policies look at, named by the metadata of the virtual host.
local function question(h, headers)
  local text = h:virtualHost():metadata():get("headers") or ""
  if text ~= names_text then
    names, names_text = {}, text
    for name in text:gmatch("[^,]+") do names[#names + 1] = name end
  end
  local asked = {
    [":method"] = "POST",
    [":path"] = headers:get(":path"),
    [":authority"] = "agent",
    ["x-request-id"] = headers:get("x-request-id"),
    ["x-mr-held"] = HELD,
  }
  for n = 1, #names do asked[names[n]] = headers:get(names[n]) end
  return asked
end

-- What goes into the answer's headers where the plan has not got it.
local function remember(h, route, reason)
  local state = h:streamInfo():filterState()
  state:set("mr.route", "envoy.string", route)
  state:set("mr.reason", "envoy.string", reason or "")
end

-- A chain that no entry of the route table stands for.
local function unplanned(h, headers, answer)
  local groups = {}
  for pool in answer["x-mr-chain"]:gmatch("[^,]+") do
    groups[#groups + 1] = { name = #groups .. pool, clusters = { { cluster_name = pool, weight = 1 } } }
  end
  h:streamInfo():dynamicMetadata():set("mr.chain", "priority_groups", groups)
  for name, value in pairs(answer) do
    if sub(name, 1, 8) == "x-envoy-" and name ~= "x-envoy-upstream-service-time" then headers:replace(name, value) end
  end
  headers:replace("x-mr-plan", "*" .. (answer["x-mr-idle"] or "") .. (answer["x-mr-mirror"] and "m" or ""))
end

-- A stream tells the tokens it used only to clients that ask, and the others are spared the look at
-- every event. See `answer.lua` for the place; what has waited is read where it came in first.
local function read_tokens(h, place)
  if not HELD then h:streamInfo():dynamicMetadata():set("mr.usage", "by", place) end
end

-- Whether it is an object, where its model is (of duplicates the last one counts), and if it asks for
-- a stream.
local function looked_through(text)
  local from, to, streamed
  local is_object = members(text, function(key, _, _, start, stop)
    if key == "model" then
      from, to = start, stop
    elseif key == "stream" then
      streamed = sub(text, start, stop) == "true"
    end
  end)
  return is_object, from, to, streamed
end

-- The first pool's name of the model goes in here, where the body is at hand: cheaper than one more
-- Lua filter at the pool. Plans that leave that filter out of first attempts say so by a model.
local function make_ready(h, headers, text, from, to)
  local model = h:metadata():get("model")
  if not model then return end
  if not from then
    local _
    _, from, to = looked_through(text)
    if not from then return end
  end
  local size = h:body():setBytes(sub(text, 1, from - 1) .. model .. sub(text, to + 1))
  headers:replace("content-length", tostring(size))
end

-- What Envoy does by itself: the default chain of the model that the body names.
local function fall_through(h, text, asks_usage)
  local is_object, model_start, model_end, streamed = looked_through(text)
  if not is_object then
    return refuse(h, "400", "The body is not a JSON object.", "invalid_request_error", nil, "invalid_json")
  end
  if not model_start or byte(text, model_start) ~= 34 then
    return refuse(h, "400", "You must provide a model parameter, a string.", "invalid_request_error", "model",
      "missing_model")
  end
  local model = string_value(text, model_start, model_end)
  local default = h:virtualHost():metadata():get("model " .. model)
  if not default then
    return refuse(h, "404", "The model `" .. json_text(model) .. "` does not exist.", "invalid_request_error", "model",
      "model_not_found")
  end
  local route, plan, stream_plan = default:match("^([^|]*)|([^|]*)|(.*)$")
  -- Rules about labelled data need the agent, and so do routes without a default chain.
  if plan == "" or h:headers():get("x-data-class") then
    return refuse(h, "503", "The model `" .. json_text(model) .. "` cannot be served at the moment. Try again.",
      "server_error", "model", "decision_unavailable")
  end
  remember(h, route, "fall-through")
  if asks_usage then read_tokens(h, "pool") end
  local headers = h:headers()
  headers:replace("x-mr-plan", streamed and stream_plan or plan)
  h:clearRouteCache()
  make_ready(h, headers, text, model_start, model_end)
end

envoy_on_request = ending(function(h)
  local body = h:body()
  local text = body and body:getBytes(0, body:length()) or ""
  local headers = h:headers()
  local asks_usage = find(text, '_usage"', 1, true) and find(text, '"include_usage"', 1, true)
  local model, from, to, streamed, tokens, featureless = asked_for(text)
  local kind, turn
  if model then
    kind = headers:get(":path") .. "\n" .. model .. (streamed and "\n1" or "\n0")
    local plan, copy
    plan, copy, turn = find_shared(h, headers, kind, text, tokens, featureless)
    for _ = 1, MOST_WAITS do
      if turn ~= WAIT then break end
      h:httpCall("@INSTANT@", PAUSE, nil, OPTIONS)
      headers = h:headers()
      plan, copy, turn = find_shared(h, headers, kind, text, tokens, featureless)
    end
    if plan then
      headers:replace("x-mr-plan", copy and plan .. "m" or plan)
      if copy then mirror(h, headers, copy, asks_usage) end
      if asks_usage then read_tokens(h, copy and "listener" or "pool") end
      h:clearRouteCache()
      return make_ready(h, headers, text, from, to)
    end
  end
  local asked = question(h, headers)
  if kind and not HELD then asked["x-mr-share"] = "1" end
  local answer, answer_body = h:httpCall("_agent", asked, text, OPTIONS)
  local status = answer[":status"]
  local plan = answer["x-mr-plan"]
  if status ~= "200" or not (plan or answer["x-mr-chain"]) then
    if find(answer["content-type"] or "", "^application/json") then
      answer["content-length"], answer["connection"], answer["x-envoy-upstream-service-time"] = nil, nil, nil
      return respond(h, answer, answer_body or "")
    end
    return fall_through(h, text, asks_usage)
  end
  headers = h:headers()
  local share = answer["x-mr-share"]
  if kind and share then
    keep_shared(h, headers, kind, share, answer["x-mr-share-mirror"])
  elseif turn == ASK then
    forget_shared(headers, kind)
  end
  if answer["x-mr-route"] then remember(h, answer["x-mr-route"], answer["x-mr-reason"]) end
  local hash = answer["x-mr-hash"]
  if hash then h:streamInfo():filterState():set("mr.hash", "envoy.hashable_string", hash) end
  local copy = answer["x-mr-mirror"]
  if copy then
    if hash then headers:replace("x-mr-hash", hash) end
    mirror(h, headers, copy, asks_usage)
  end
  if plan then
    headers:replace("x-mr-plan", plan)
  else
    unplanned(h, headers, answer)
  end
  local hold = answer["x-mr-hold"]
  if asks_usage then read_tokens(h, (copy or hold) and "listener" or "pool") end
  if hold then headers:replace("x-mr-hold", hold) end
  h:clearRouteCache()
  if not plan or hold then return end
  if not from then
    local before, after = (answer["x-mr-span"] or ""):match("^(%d+),(%d+)$")
    if before then from, to = before + 1, tonumber(after) end
  end
  make_ready(h, headers, text, from, to)
end)
