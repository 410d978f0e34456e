-- Stores a value whatever stands there; of two callers the later wins. A full Redis refuses it: then the old value goes
-- nevertheless, since the database has a newer one.
-- KEYS  value, sidecar
-- ARGV  value, ms to live, hold ms
-- Returns 1
local stored = redis.pcall('SET', K, ARGV[1], 'PX', ARGV[2])
if stored.err then redis.call('DEL', K) end
disturb(ARGV[3])
return stored.err and stored or 1
