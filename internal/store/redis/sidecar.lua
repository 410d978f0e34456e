-- The first part of invalidate.lua, put.lua, begin.lua and end.lua.
--   none  | t<24 hex> lease | - absent | ! hold | !c,token, one clean intent | !d,token,token, several or disturbed ones
-- With one key, the sidecar, a script does its part of the work without the value (apart.go).
local K, L = KEYS[1], KEYS[2]
if not L then K, L = nil, K end
local l = redis.pcall('GET', L)
if type(l) == 'table' then -- somebody's list under our name must not keep a stale value alive
  redis.call('DEL', L)
  l = false
end
local function intents() return l and #l > 1 and string.sub(l, 1, 1) == '!' end
local function set(value, px) redis.call('SET', L, value, 'PX', string.format('%.0f', math.max(px, 1))) end
-- How long the sidecar stands. A barrier that another program has persisted stands for a day (bound.lua): its writer may live.
local function left()
  local px = redis.call('PTTL', L)
  return px == -1 and 86400000 or px
end
-- What goes on with the key ends, for somebody who knows better: intents stay and are not clean any more; a hold is never
-- shortened.
local function disturb(hold)
  local px = tonumber(hold)
  if l and string.sub(l, 1, 1) == '!' then
    if #l > 1 then l = '!d' .. string.sub(l, 3) end
    set(l, math.max(px, left()))
  elseif px > 0 then set('!', px)
  elseif l then redis.call('DEL', L) end
end
-- The list of tokens of standing intents (",a,b,") without those named in ARGV[from..].
local function without(from)
  local list = string.sub(l, 3)
  for i = from, #ARGV do
    local a, b = string.find(list, ',' .. ARGV[i] .. ',', 1, true)
    if a then list = string.sub(list, 1, a) .. string.sub(list, b + 1) end
  end
  return list
end
