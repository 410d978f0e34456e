-- Reads a value, and prolongs its life up to the end that it was saved with; one without an end keeps the life that it has.
-- KEYS  value, sidecar
-- ARGV  ms to live, now in ms since 1970
-- Returns the value; nothing if there is none, or its end has come
local K, L = KEYS[1], KEYS[2]
local v = redis.pcall('GET', K)
if type(v) == 'table' then
  if not string.find(v.err, 'WRONGTYPE', 1, true) then return v end
  return false
end
local l = v and redis.call('GET', L) -- and not only its TTL: a server that evicts shall take it for used
local last = l and tonumber(string.match(l, '^e(%d+)$'))
if not last then return v end
local px = math.min(tonumber(ARGV[1]), last - tonumber(ARGV[2]))
if px < 1 then
  redis.call('DEL', K)
  redis.call('DEL', L)
  return false
end
px = string.format('%.0f', px)
redis.call('PEXPIRE', K, px)
redis.call('PEXPIRE', L, px)
return v
