-- Between a type's own file and every script about a collection as a whole or its members.
-- KEYS  collection, sidecar, load, removed, intents, members (keys.go)
local K, L, T, R, I, E = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local clock -- once it was asked for
local function now()
  clock = clock or redis.call('TIME')
  return clock[1] * 1000 + math.floor(clock[2] / 1000)
end
local l = redis.pcall('GET', L)
if type(l) == 'table' then -- somebody's list under our name must not keep anything stale alive
  redis.call('DEL', L)
  l = false
end
local function digits(x) return string.format('%.0f', x) end
local function cached() return redis.call('TYPE', K).ok == TY end
local function leased() return l and l ~= '-' and string.sub(l, 1, 1) ~= '!' end
local function forget() redis.call('DEL', L) l = false end
-- Ends the load under way: what it has read is not enough any more.
local function stop()
  forget()
  redis.call('UNLINK', T, R)
end
-- A number above all that were drawn for this collection. A row that is read now contains what was committed before.
local function draw()
  now()
  local n = math.max(clock[1] * 1000000 + clock[2], tonumber(redis.call('HGET', E, '~') or '0') + 1)
  redis.call('HSET', E, '~', digits(n))
  return n
end
-- Nobody knows what the collection should contain. Whoever drew a number before must not overwrite what a later load brings.
local function drop()
  redis.call('UNLINK', K)
  if redis.call('EXISTS', E) == 1 then redis.call('HSET', E, '^', digits(draw())) end
  if leased() then stop() elseif l == '-' then forget() end
  redis.call('ZREM', I, '*')
end
local intents -- whether there are any, once overdue() has looked: mostly there are none, and then what is about them is left out
-- A writer whose deadline has passed is dead, and what he wrote is unknown: whoever finds his intent drops.
local function overdue()
  intents = redis.call('EXISTS', I) == 1
  if not intents then return false end
  local back = redis.pcall('ZSCORE', I, '*')
  if type(back) == 'string' and tonumber(back) < now() then redis.call('ZREM', I, '*') end -- no writer, but the end of a life that is over
  local gone = redis.pcall('ZREMRANGEBYSCORE', I, '-inf', '(' .. digits(now()))
  if gone == 0 then return false end
  if type(gone) == 'table' then redis.call('UNLINK', I) end -- somebody's list
  drop()
  return true
end
-- The earliest deadline of the standing intents.
local function deadline()
  local first = redis.call('ZRANGE', I, 0, 1, 'WITHSCORES')
  return tonumber(first[1] == '*' and first[4] or first[2])
end
-- A change goes into the collection, and into the load under way. A load is stopped if it has lost its marks, or if so much
-- is removed that its end would take too long.
local function merge(op, m, v)
  if cached() then
    if op == 'A' then add(K, m, v) else remove(K, m) end
  end
  if leased() then
    if not marked(T, l) or redis.call('SISMEMBER', R, l) == 0 then stop()
    elseif op == 'A' then
      add(T, m, v)
      redis.call('SREM', R, m)
    else
      remove(T, m)
      if redis.call('SADD', R, m) == 1 and redis.call('SCARD', R) > 3001 then stop() end
    end
  elseif l == '-' and op == 'A' then forget() end
end
