-- Before the two scripts about one member's write. Its cluster is <kind><version>,<token>:<note>,<token>:<note>,
--   c  one writer, who is sure        v  told apart by the version, which is that of the row in the collection
--   p  one push; its note is how many loads had ended at its begin
--   d  the order is unknown; the version is the number of the row in the collection; a note is n and the number drawn
if type(redis.pcall('HLEN', E)) == 'table' then redis.call('UNLINK', E) end -- somebody's list
-- Returns kind, version, and the intents as ",token:note,token:note,"
local function cluster(f)
  local e = redis.call('HGET', E, f)
  if e then return string.match(e, '^(%a)([^,]*)(,.*)$') end
end
-- Returns those of a cluster's intents that stand, and whether there is another: its writer died, and what it wrote is unknown.
-- The tokens in ARGV[from..] are earlier sendings of the caller's, and are left out.
local function standing(intents, from)
  local list, died, mine = ',', false, {}
  for i = from, #ARGV do mine[ARGV[i]] = true end
  for token, note in string.gmatch(intents, '([^:,]+):([^,]*)') do
    if mine[token] then -- it is replaced
    elseif redis.call('ZSCORE', I, token) then list = list .. token .. ':' .. note .. ','
    else died = true end
  end
  return list, died
end
local function put(f, kind, version, list)
  if list == ',' then redis.call('HDEL', E, f) else redis.call('HSET', E, f, kind .. version .. list) end
end
local function loads() return redis.call('HGET', E, '#') or '0' end
