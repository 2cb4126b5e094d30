-- Tells what is to happen to the copy of a request, in headers that go with it. That there is a copy
-- is up to the plan. `words` is what the agent said: pool, route and how, with `|` between them.

local MIRRORED = "_mirror"
local compared_ever = false

local function mirror(h, headers, words, asks_usage)
  local pool, route, how = words:match("^([^|]*)|([^|]*)|(.*)$")
  if not pool then return end
  headers:replace("x-mr-mirror", MIRRORED)
  headers:replace("x-mr-mirror-pool", pool)
  headers:replace("x-mr-mirror-route", route)
  headers:replace("x-mr-mirror-how", asks_usage and how .. "u" or how)
  if find(how, "c", 1, true) then
    compared_ever = true
    h:streamInfo():dynamicMetadata():set("mr.compared", "id", headers:get("x-request-id"))
  end
end
