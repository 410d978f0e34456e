-- Asks for the right to load. May be sent again with the same token.
-- KEYS  collection, sidecar, load, removed, intents, members (keys.go)
-- ARGV  token, lease ms, stale ms (0: never stale), kind of the dead ('' | 'm' | 't'), its member or its type
-- Returns {state, '', ms left, holder or type}
local ty = redis.call('TYPE', K).ok
if ARGV[4] == 't' and ty == ARGV[5] or ARGV[4] == 'm' and ty == TY and has(K, ARGV[5]) then
  redis.call('UNLINK', K)
  ty = 'none'
end
if ty ~= 'none' and ty ~= TY then return {'X', '', 0, ty} end
local state, p = 'G', 0
if ty == TY then
  p = redis.call('PTTL', K)
  local s, due = tonumber(ARGV[3]), redis.pcall('ZSCORE', I, '*')
  if type(due) == 'string' then p = math.max(p, due - now()) end -- its life is short while intents stand
  if s == 0 or p < 0 or p >= s then return {'H', '', p} end
  state = 'R'
end
if l and l ~= ARGV[1] then
  redis.call('SET', L, '', 'NX') -- changes nothing: a server that refuses writes must say so, since then nobody waits
  l = bounded(L, l, ARGV[2])
  if state == 'R' and l and l ~= '-' then return {'S', '', p, leased() and l or ''} end
  if l == '-' and state == 'G' then return {'N', '', redis.call('PTTL', L)} end
  if l and state == 'G' then
    if leased() then return {'W', '', 0, l} end
    return {'B'}
  end
end
if l == ARGV[1] then return {state, '', p} end
if overdue() then state = 'G' end
if intents and state == 'G' then redis.call('ZREM', I, '*') end
-- What cannot be done must leave no lease, which others would wait for.
local done, failure = pcall(function()
  redis.call('SET', L, ARGV[1], 'PX', ARGV[2])
  redis.call('UNLINK', T, R)
  mark(T, ARGV[1])
  redis.call('PEXPIRE', T, ARGV[2])
  redis.call('SADD', R, ARGV[1])
  redis.call('PEXPIRE', R, ARGV[2])
end)
if not done then
  redis.pcall('DEL', L, T, R)
  return type(failure) == 'table' and failure or redis.error_reply(failure)
end
return {state, '', p}
