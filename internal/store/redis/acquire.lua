-- Asks for the right to load. May be sent again with the same token.
-- KEYS  value, sidecar
-- ARGV  token, lease ms, stale ms (0: values are never stale), kind of the dead ('' | 'v' | 't'), its bytes or its type
-- Returns {state, value, ms left, holder or type}
local K, L = KEYS[1], KEYS[2]
local v = redis.pcall('GET', K)
if type(v) == 'table' then
  if not string.find(v.err, 'WRONGTYPE', 1, true) then return v end
  local ty = redis.call('TYPE', K).ok
  if ARGV[4] ~= 't' or ty ~= ARGV[5] then return {'X', '', 0, ty} end
  redis.call('UNLINK', K)
  v = false
end
if v and ARGV[4] == 'v' and v == ARGV[5] then
  redis.call('DEL', K)
  v = false
end
local l = redis.call('GET', L)
local function take() redis.call('SET', L, ARGV[1], 'PX', ARGV[2]) end
if v then
  local p, s = redis.call('PTTL', K), tonumber(ARGV[3])
  if s == 0 or p < 0 or p >= s then return {'H', v, p} end
  if not l or l == '-' then take()
  elseif l ~= ARGV[1] then return {'S', v, p} end
  return {'R', v, p}
end
if not l then take() return {'G'} end
if l == ARGV[1] then return {'G'} end
local c = string.sub(l, 1, 1)
if c == '-' then return {'N', '', redis.call('PTTL', L)} end
if c == '!' then return {'B'} end
return {'W', '', 0, l}
