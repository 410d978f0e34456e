-- Asks for the right to load. May be sent again with the same token.
-- KEYS  value, sidecar
-- ARGV  token, lease ms, stale ms (0: values are never stale), kind of the dead ('' | 'v' | 't'), its bytes or its type
-- Returns {state, value, ms left, holder or type}
local K, L = KEYS[1], KEYS[2]
local v, p = redis.pcall('GET', K), 0
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
if v then
  local s = tonumber(ARGV[3])
  p = redis.call('PTTL', K)
  if s == 0 or p < 0 or p >= s then return {'H', v, p} end
end
local function granted() return v and {'R', v, p} or {'G'} end
-- Also where somebody has the lease: a server that refuses writes must say so, since then nobody waits.
if redis.call('SET', L, ARGV[1], 'NX', 'PX', ARGV[2]) then return granted() end
local l = redis.pcall('GET', L)
if type(l) == 'table' then -- somebody's list under our name must not keep all others from loading
  if not string.find(l.err, 'WRONGTYPE', 1, true) then return l end
  redis.call('DEL', L)
  l = false
end
if l == ARGV[1] then return granted() end
if l then l = bounded(L, l, ARGV[2]) end
local c = l and string.sub(l, 1, 1)
if not l or v and l == '-' then
  redis.call('SET', L, ARGV[1], 'PX', ARGV[2])
  return granted()
end
if v then return {'S', v, p, c ~= '!' and l or ''} end
if l == '-' then return {'N', '', redis.call('PTTL', L)} end
if c == '!' then return {'B'} end
return {'W', '', 0, l}
