-- Ends a lease: the load, with a last chunk, takes the place of the collection, without what was removed meanwhile. It lives no
-- longer than the earliest deadline of the standing intents. The chunk comes before the first deletion: a full Redis refuses it then.
-- KEYS  collection, sidecar, load, removed, intents, members (keys.go)
-- ARGV  token, ms to live, ms for which it is remembered that there is nothing (0: not at all), then what chunk.lua is given of
--       elements; none: there is no last chunk
-- Returns 1; 0 if the token no longer stands, or if a part of the load was lost: nothing was stored
if l ~= ARGV[1] or overdue() then return 0 end
if ARGV[4] and marked(T, l) then fill(T, 4) end
local whole, known = unmark(T, l), redis.call('SREM', R, l) == 1
if not whole or not known then
  stop()
  return 0
end
local gone = redis.call('SMEMBERS', R)
for i = 1, #gone, 1000 do remove(T, unpack(gone, i, math.min(i + 999, #gone))) end
redis.call('UNLINK', K, R)
forget()
local px, due = tonumber(ARGV[2]), intents and deadline()
if redis.call('EXISTS', T) == 1 then
  redis.call('RENAME', T, K)
  if due then
    redis.call('ZADD', I, digits(now() + px), '*')
    px = math.min(px, due - now())
  end
  redis.call('PEXPIRE', K, digits(px))
else
  if intents then redis.call('ZREM', I, '*') end
  px = tonumber(ARGV[3])
  if due then px = math.min(px, due - now()) end
  if px > 0 then redis.call('SET', L, '-', 'PX', digits(px)) end
end
if redis.call('EXISTS', E) == 1 then redis.call('HINCRBY', E, '#', 1) end
return 1
