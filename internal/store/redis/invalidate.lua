-- Removes a value or a collection, a load, and what is known of members: the ends of writes that stand now are not sure of
-- theirs any more. Their intents stay, since a load behind this must heal a writer that dies. The deletion comes first: a
-- full Redis lets a script finish that has deleted.
-- KEYS  value or collection, sidecar, load, removed, intents, members (keys.go); or the sidecar alone
-- ARGV  hold ms
-- Returns 1 if there was a value
local n = K and redis.call('UNLINK', K) or 0
if K then redis.call('UNLINK', KEYS[3], KEYS[4], KEYS[6]) end
disturb(ARGV[1])
return n
