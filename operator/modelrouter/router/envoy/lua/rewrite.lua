-- Makes a request fit the pool of this attempt: the pool's name of the model, its parameters and
-- its path. Every attempt starts from the client's body, but all attempts share one header map:
-- what one attempt sets, the next one must set again. `json.lua` goes before this.

local concat = table.concat

local function renamed(text, model)
  local from, to
  members(text, function(key, _, _, start, stop)
    if key == "model" then from, to = start, stop end -- of duplicates the last one counts
  end)
  if not from then return nil end
  return sub(text, 1, from - 1) .. model .. sub(text, to + 1)
end

local function adapted(text, model, drop, rename)
  local found, present, last_model = {}, {}, nil
  members(text, function(key, key_start, key_end, start, stop)
    found[#found + 1] = { key, key_start, key_end, start, stop }
    present[key] = true
    if key == "model" then last_model = #found end
  end)
  if #found == 0 then return nil end
  local out, kept = { sub(text, 1, found[1][2] - 1) }, false
  for n = 1, #found do
    local key, key_start, key_end, start, stop = unpack(found[n])
    local name = rename[key] -- a JSON string, quotes included
    -- A client that sends both names means the new one.
    if not drop[key] and not (name and present[string_value(name, 1, #name)]) then
      if kept then out[#out + 1] = sub(text, found[n - 1][5] + 1, key_start - 1) end
      kept = true
      out[#out + 1] = name or sub(text, key_start, key_end)
      out[#out + 1] = sub(text, key_end + 1, start - 1)
      out[#out + 1] = n == last_model and model or sub(text, start, stop)
    end
  end
  out[#out + 1] = sub(text, found[#found][5] + 1)
  return concat(out)
end

envoy_on_request = ending(function(h)
  local body = h:body() -- waits, and what was taken from `h` before is of no use afterwards
  local pool = h:filterContext()
  local headers = h:headers()
  if body then
    local size = body:length()
    local text = body:getBytes(0, size)
    local new
    if pool:get("adapts") then
      new = adapted(text, pool:get("model"), pool:get("drop") or {}, pool:get("rename") or {})
    else
      new = renamed(text, pool:get("model"))
    end
    if new then size = body:setBytes(new) end
    headers:replace("content-length", tostring(size))
  end
  -- A path that reaches a pool ends in one of three operations; what stands before is a prefix.
  local path = headers:get(":path")
  local place, query = path:match("^([^?]*)(.*)$")
  local operation = place:match("/chat/completions$") or place:match("/[^/]*$")
  local fitting = pool:get("prefix") .. operation .. query
  if fitting ~= path then headers:replace(":path", fitting) end
end)
