-- Adds to a load what it does not have yet: what ended meanwhile is newer.
-- KEYS  sidecar, load
-- ARGV  token, then what the type's own file says
-- Returns 1; 0 if the token no longer stands, or if the load has lost its beginning
if redis.call('GET', KEYS[1]) ~= ARGV[1] or not marked(KEYS[2], ARGV[1]) then return 0 end
fill(KEYS[2], 2)
return 1
