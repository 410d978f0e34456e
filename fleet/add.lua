-- Adds what a process counted of one cache to its minute, and the keys that it saw most.
-- KEYS  minute (hash), hot keys (zset)
-- ARGV  seconds that the minute is kept, seconds that the hot keys are, number of hot keys that are, number of fields,
--       field, difference, ..., key, reads, ...
-- An error means that nothing was added: what may fail comes first, and once something is added nothing is an error.
local minute, hot = KEYS[1], KEYS[2]
local last = 4 + 2 * ARGV[4]
if last > 4 then
  local had = redis.call('EXPIRE', minute, ARGV[1])
  redis.call('HINCRBY', minute, ARGV[5], ARGV[6])
  if had == 0 then redis.call('EXPIRE', minute, ARGV[1]) end
  for i = 7, last, 2 do redis.pcall('HINCRBY', minute, ARGV[i], ARGV[i + 1]) end
end
if last < #ARGV then
  for i = last + 1, #ARGV, 2 do redis.pcall('ZINCRBY', hot, ARGV[i + 1], ARGV[i]) end
  redis.pcall('ZREMRANGEBYRANK', hot, 0, -1 - ARGV[3])
  redis.pcall('EXPIRE', hot, ARGV[2])
end
return 1
