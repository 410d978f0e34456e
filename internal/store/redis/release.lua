-- Ends a lease without a result.
-- KEYS  value (not used), sidecar
-- ARGV  token
-- Returns 1 if the token stood
if redis.call('GET', KEYS[2]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[2])
