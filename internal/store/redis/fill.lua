-- Ends a lease with what was loaded.
-- KEYS  value, sidecar
-- ARGV  token, kind ('v' a value | 'n' no such row), ms to live, value
-- Returns 1; 0 if the token no longer stands: nothing was stored
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
if ARGV[2] == 'n' then
  redis.call('DEL', KEYS[1])
  redis.call('SET', KEYS[2], '-', 'PX', ARGV[3])
else
  redis.call('SET', KEYS[1], ARGV[4], 'PX', ARGV[3])
  redis.call('DEL', KEYS[2])
end
return 1
