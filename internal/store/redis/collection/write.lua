-- Tells of a member that was changed, after the commit. Whoever writes the same member at the moment is not sure of it any
-- more. The deletion comes first: a full Redis lets a script finish that has deleted.
-- KEYS  collection, sidecar, load, removed, intents, members (keys.go)
-- ARGV  member, 'A' add, 'R' remove or 'D' drop, score or value
-- Returns 1; 0 if the collection was dropped
redis.call('HDEL', E, 'm' .. ARGV[1])
if ARGV[2] == 'D' then
  drop()
  return 0
end
merge(ARGV[2], ARGV[1], ARGV[3])
return 1
