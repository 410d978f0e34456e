-- Tells that the write of one member is over. It is applied if its intent stands and the order of its writers is known.
-- KEYS  collection, sidecar, load, removed, intents, members (keys.go)
-- ARGV  token, member of the intent, changed member, 'A' add, 'R' remove, 'F' push in front, 'B' push behind or 'D' drop, score
--       or value, version or drawn number, '1' if the row can be read again, length that a push leaves (0: any)
-- Returns 1 if the collection shows this state or a newer one; 0 if it was dropped; else a number: read the row, and send
-- the end again with it
overdue()
local token, f, op, again = ARGV[1], 'm' .. ARGV[2], ARGV[4], ARGV[7] == '1'
local stands = redis.call('ZSCORE', I, token)
local kind, version, list = cluster(f)
local note
if kind then -- take it out
  local i, j = string.find(list, ',' .. token .. ':', 1, true)
  if i then
    local k = string.find(list, ',', j, true)
    note, list = string.sub(list, j + 1, k - 1), string.sub(list, 1, i - 1) .. string.sub(list, k)
  end
end
local sure = stands and note and op ~= 'D'
if sure and kind == 'd' then sure = again and note == 'n' .. ARGV[6]
elseif sure and kind == 'p' then sure = note == loads() and not leased()
elseif sure and kind == 'v' then
  local _, died = standing(list, #ARGV + 1)
  sure = not died
end
if not sure and again and stands and op ~= 'D' then
  local n = draw()
  put(f, 'd', kind == 'd' and version or '', (list or ',') .. token .. ':n' .. digits(n) .. ',')
  if redis.call('PTTL', E) < 0 then redis.call('PEXPIRE', E, redis.call('PTTL', I)) end
  return n
end
redis.call('ZREM', I, token)
if not sure then
  drop()
  if kind ~= 'd' then version = '' end -- of a row: it does not compare with the numbers that come now
  kind = 'd'
elseif kind == 'p' then
  if cached() then
    redis.call(op == 'F' and 'LPUSH' or 'RPUSH', K, ARGV[3])
    local cap = tonumber(ARGV[8])
    if cap > 0 then redis.call('LTRIM', K, op == 'F' and 0 or -cap, op == 'F' and cap - 1 or -1) end
  elseif l == '-' then forget() end
else
  local newer = kind == 'c' or version == '' or tonumber(ARGV[6]) > tonumber(version)
  if kind == 'd' then newer = newer and tonumber(ARGV[6]) > tonumber(redis.call('HGET', E, '^') or '0') end
  if newer then
    merge(op, ARGV[3], ARGV[5])
    if kind ~= 'c' then version = ARGV[6] end
  end
end
if list then put(f, kind, version, list) end
-- The life goes back to the earliest of the other deadlines and of its former end. The last intent takes all with it.
local first = redis.call('ZRANGE', I, 0, 0, 'WITHSCORES')
local left, back = redis.call('ZCARD', I), redis.call('ZSCORE', I, '*')
if back and cached() then redis.call('PEXPIREAT', K, first[2]) end
if left == 0 or left == 1 and back then redis.call('UNLINK', I, E) end
return sure and 1 or 0
