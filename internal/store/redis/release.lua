-- Ends a lease without a result.
-- KEYS  sidecar
-- ARGV  token
-- Returns 1 if the token stood
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
