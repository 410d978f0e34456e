-- Asks for the right to load many keys, of values that are never stale. May be sent again with the same token.
-- KEYS  values; behind them the sidecar of each
-- ARGV  token, lease ms
-- Returns {a state for each key, the value of each H, the holder of each W}; ? if acquire.lua must be asked, which mends a
-- sidecar that no live process can have written so.
-- A key of another type counts as missing: the fill takes its place.
local n = #KEYS / 2
local values, states, out = redis.call('MGET', unpack(KEYS, 1, n)), {}, {''}
for i = 1, n do
  local L = KEYS[n+i]
  if values[i] then
    states[i] = 'H'
    out[#out+1] = values[i]
  elseif redis.call('SET', L, ARGV[1], 'NX', 'PX', ARGV[2]) then
    states[i] = 'G'
  else
    local l = redis.pcall('GET', L)
    local c = type(l) == 'string' and string.sub(l, 1, 1)
    local left = c and redis.call('PTTL', L)
    if l == ARGV[1] then states[i] = 'G'
    elseif not c or left < 0 or l ~= '-' and c ~= '!' and left > tonumber(ARGV[2]) then states[i] = '?'
    elseif l == '-' then states[i] = 'N'
    elseif c == '!' then states[i] = 'B'
    else
      states[i] = 'W'
      out[#out+1] = l
    end
  end
end
out[1] = table.concat(states)
return out
