-- Ends a lease without a result.
-- KEYS  sidecar; of a collection also load, removed (keys.go)
-- ARGV  token
-- Returns 1 if the token stood
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
-- First: where the rest is forbidden, nobody has to wait for a load that is over. The same if DEL is.
if type(redis.pcall('DEL', KEYS[1])) == 'table' then redis.call('SET', KEYS[1], '', 'PX', 1) end
if KEYS[2] then redis.call('UNLINK', KEYS[2], KEYS[3]) end
return 1
