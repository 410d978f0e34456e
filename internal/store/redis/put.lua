-- Stores a value whatever stands there; of two callers the later wins.
-- KEYS  value, sidecar
-- ARGV  value, ms to live, hold ms
-- Returns 1
redis.call('SET', K, ARGV[1], 'PX', ARGV[2])
disturb(ARGV[3])
return 1
