-- Ends a lease without a result.
-- KEYS  sidecar; of a collection also load, removed (keys.go)
-- ARGV  token
-- Returns 1 if the token stood
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
redis.call('DEL', KEYS[1]) -- first: where the other is forbidden, nobody has to wait for a load that is over
if KEYS[2] then redis.call('UNLINK', KEYS[2], KEYS[3]) end
return 1
