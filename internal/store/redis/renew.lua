-- Prolongs leases. A token that was removed does not come back: its row may be old by now.
-- KEYS  sidecars
-- ARGV  ms from now, token of each
-- Returns a digit for each key: 1; 0 if the token no longer stands: nothing was changed
local held, out = redis.call('MGET', unpack(KEYS)), {}
for i = 1, #KEYS do
  out[i] = 0
  if held[i] == ARGV[i+1] then
    redis.call('SET', KEYS[i], held[i], 'PX', ARGV[1])
    out[i] = 1
  end
end
return table.concat(out)
