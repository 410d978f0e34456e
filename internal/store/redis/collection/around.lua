-- Reads the neighbourhood of a member of a sorted set.
-- KEYS  collection
-- ARGV  member, how many on either side, '1' if the highest score comes first
-- Returns {ms left (-2: there is no collection), place of the first one (-1: no such member), member, score ...}
local K, reverse = KEYS[1], ARGV[3] == '1'
local p, at = redis.call('PTTL', K), redis.call(reverse and 'ZREVRANK' or 'ZRANK', K, ARGV[1])
if not at then return {p, -1} end
local n = tonumber(ARGV[2])
local first = math.max(at - n, 0)
return {p, first, redis.call(reverse and 'ZREVRANGE' or 'ZRANGE', K, first, at + n, 'WITHSCORES')}
