-- Ends leases with what was loaded.
-- KEYS  values; behind them the sidecar of each
-- ARGV  token of all; for each key: ms to live, and the value; or, of a row that does not exist, 'n' and the ms, and nothing
-- Returns a digit for each key: 1; 0 if the token no longer stands: nothing was stored
local n, token = #KEYS / 2, ARGV[1]
local held, out, over = redis.call('MGET', unpack(KEYS, n+1)), {}, {}
for i = 1, n do
  local K, L, px = KEYS[i], KEYS[n+i], ARGV[2*i]
  if held[i] ~= token then
    out[i] = 0
  elseif string.byte(px) == 110 then
    redis.call('DEL', K)
    redis.call('SET', L, '-', 'PX', string.sub(px, 2))
    out[i] = 1
  else
    redis.call('SET', K, ARGV[2*i+1], 'PX', px)
    over[#over+1] = L
    out[i] = 1
  end
end
if #over > 0 then redis.call('DEL', unpack(over)) end
return table.concat(out)
