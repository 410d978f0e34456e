-- Announces a database write of one member. The collection stays, and lives no longer than the intent. A sending without an
-- answer is followed by one with a fresh token that names the earlier ones: those are taken out, and disturb nobody.
-- KEYS  collection, sidecar, load, removed, intents, members (keys.go)
-- ARGV  token, ms to live, lease ms, member, kind ('c' | 'v' | 'p'), earlier token ...
-- Returns 1
overdue()
if redis.call('ZSCORE', I, ARGV[1]) then return 1 end
for i = 6, #ARGV do redis.call('ZREM', I, ARGV[i]) end
local px, kind, f, version = tonumber(ARGV[2]), ARGV[5], 'm' .. ARGV[4], ''
local was, v, others = cluster(f)
local list, died = standing(others or '', 6)
if list ~= ',' then -- not alone
  if was ~= kind or kind ~= 'v' or died then kind = 'd' end
  if was == kind then version = v end
end
put(f, kind, version, list .. ARGV[1] .. ':' .. (kind == 'p' and loads() or '') .. ',')
redis.call('ZADD', I, digits(now() + px), ARGV[1])
if cached() then
  local p = redis.call('PTTL', K)
  if p > 0 then redis.call('ZADD', I, 'NX', digits(now() + p), '*') end
  if p < 0 or p > px then redis.call('PEXPIRE', K, digits(px)) end
end
local keep = px + tonumber(ARGV[3])
for _, k in ipairs({I, E}) do
  if redis.call('PTTL', k) < keep then redis.call('PEXPIRE', k, digits(keep)) end
end
if l == '-' then forget() end
return 1
