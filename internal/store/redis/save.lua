-- Stores a value whatever stands there, with the end of its life. If it is refused, the old one stays.
-- KEYS  value, sidecar
-- ARGV  value, ms to live, end in ms since 1970 (0: its life is not to be prolonged)
-- Returns 1
local stored = redis.pcall('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
if stored.err then return stored end
if ARGV[3] == '0' then redis.call('DEL', KEYS[2])
else redis.call('SET', KEYS[2], 'e' .. ARGV[3], 'PX', ARGV[2]) end
return 1
