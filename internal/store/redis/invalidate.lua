-- Removes a value. The deletion comes first: a full Redis lets a script finish that has deleted.
-- KEYS  value, sidecar
-- ARGV  hold ms
-- Returns 1 if there was a value
local n = redis.call('DEL', K)
disturb(ARGV[1])
return n
