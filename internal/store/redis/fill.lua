-- Ends leases with what was loaded.
-- KEYS  value, sidecar; of further keys the same
-- ARGV  token, kind ('v' a value | 'n' no such row), ms to live, value; of further keys the same
-- Returns a digit for each key: 1; 0 if the token no longer stands: nothing was stored
local out = {}
for i = 1, #KEYS / 2 do
  local K, L, a = KEYS[2*i-1], KEYS[2*i], 4*i-4
  if redis.call('GET', L) ~= ARGV[a+1] then
    out[i] = 0
  elseif ARGV[a+2] == 'n' then
    redis.call('DEL', K)
    redis.call('SET', L, '-', 'PX', ARGV[a+3])
    out[i] = 1
  else
    redis.call('SET', K, ARGV[a+4], 'PX', ARGV[a+3])
    redis.call('DEL', L)
    out[i] = 1
  end
end
return table.concat(out)
