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
  if l and l ~= '-' and l ~= ARGV[1] then return {'S', '', p} end
  state = 'R'
elseif l == '-' then return {'N', '', redis.call('PTTL', L)}
elseif l and string.sub(l, 1, 1) == '!' then return {'B'}
elseif l and l ~= ARGV[1] then return {'W', '', 0, l} end
if l == ARGV[1] then return {state, '', p} end
if overdue() then state = 'G' end
if intents and state == 'G' then redis.call('ZREM', I, '*') end
redis.call('SET', L, ARGV[1], 'PX', ARGV[2])
redis.call('UNLINK', T, R)
mark(T, ARGV[1])
redis.call('PEXPIRE', T, ARGV[2])
redis.call('SADD', R, ARGV[1])
redis.call('PEXPIRE', R, ARGV[2])
return {state, '', p}
