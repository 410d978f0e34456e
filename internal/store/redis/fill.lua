-- Ends leases with what was loaded.
-- KEYS  values; behind them the sidecar of each
-- ARGV  token, kind ('v' a value | 'n' no such row), ms to live, value; of further keys the same
-- Returns a digit for each key: 1; 0 if the token no longer stands: nothing was stored
local n = #KEYS / 2
local held, out, over = redis.call('MGET', unpack(KEYS, n+1)), {}, {}
for i = 1, n do
  local K, L, a = KEYS[i], KEYS[n+i], 4*i-4
  if held[i] ~= ARGV[a+1] then
    out[i] = 0
  elseif ARGV[a+2] == 'n' then
    redis.call('DEL', K)
    redis.call('SET', L, '-', 'PX', ARGV[a+3])
    out[i] = 1
  else
    redis.call('SET', K, ARGV[a+4], 'PX', ARGV[a+3])
    over[#over+1] = L
    out[i] = 1
  end
end
if #over > 0 then redis.call('DEL', unpack(over)) end
return table.concat(out)
