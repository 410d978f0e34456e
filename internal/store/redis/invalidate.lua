-- Removes a value. The deletion comes first: a full Redis lets a script finish that has deleted.
-- KEYS  value, sidecar; or the sidecar alone
-- ARGV  hold ms
-- Returns 1 if there was a value
local n = K and redis.call('DEL', K) or 0
disturb(ARGV[1])
return n
