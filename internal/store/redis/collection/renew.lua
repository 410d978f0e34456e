-- Prolongs the lease of a collection, with the load under way.
-- KEYS  sidecar, load, removed (keys.go)
-- ARGV  token, ms from now
-- Returns 1; 0 if the token no longer stands: nothing was changed
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for _, k in ipairs({KEYS[2], KEYS[3], KEYS[1]}) do redis.call('PEXPIRE', k, ARGV[2]) end
return 1
