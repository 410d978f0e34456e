-- Lists a process and its caches.
-- KEYS  caches (zset), members (zset), since (string), the member (string)
-- ARGV  now, time before which caches are removed, TTL of the index, the member's id, its record, TTL of the record,
--       time before which members are removed, largest number of caches, largest number of members, cache, ...
-- A key of another type, which another program wrote, is an error that names it. Nothing is written then.
local now, ttl = ARGV[1], ARGV[3]
for i, want in ipairs({'zset', 'zset', 'string'}) do
  local is = redis.call('TYPE', KEYS[i]).ok
  if is ~= want and is ~= 'none' then return redis.error_reply('WRONGTYPE ' .. KEYS[i] .. ' is a ' .. is) end
end
redis.call('SET', KEYS[4], ARGV[5], 'EX', ARGV[6])
if not redis.call('SET', KEYS[3], now, 'NX', 'EX', ttl) then redis.call('EXPIRE', KEYS[3], ttl) end
for i = 10, #ARGV do redis.call('ZADD', KEYS[1], now, ARGV[i]) end
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[2])
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - ARGV[8])
redis.call('EXPIRE', KEYS[1], ttl)
redis.call('ZADD', KEYS[2], now, ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[2], '-inf', ARGV[7])
redis.call('ZREMRANGEBYRANK', KEYS[2], 0, -1 - ARGV[9])
redis.call('EXPIRE', KEYS[2], ttl)
return 1
