-- How scripts end. This goes before all others.
--
-- Envoy looks at a script that has ended again for every event of a stream, and forgets only one that
-- failed. So a script that has nothing more to do with a stream returns FORGOTTEN, and is made to
-- fail. What Envoy itself says of failures is kept out of its log, for it would be a line for every
-- stream; real ones are told here, at the one level that is left (`--component-log-level`).

local FORGOTTEN = "forgotten"

local function ending(script)
  return function(h)
    local ended, what = pcall(script, h)
    if not ended then h:logCritical(tostring(what)) end
    if not ended or what == FORGOTTEN then error(what, 0) end
  end
end
