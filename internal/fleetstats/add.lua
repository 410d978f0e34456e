-- Adds what a process counted of one cache to a minute, and the keys that it read most.
-- KEYS  minute (string), hot keys (zset)
-- ARGV  TTL of the minute, TTL of the hot keys, largest number of hot keys, counts (MessagePack, may be empty), key, reads, ...
-- An error means that nothing was added: what may fail comes first, and later failures are ignored.
local minute, hot, new = KEYS[1], KEYS[2], ARGV[4]
if new ~= '' then
  local old = redis.call('GET', minute)
  local ok, sum = pcall(cmsgpack.unpack, old or '')
  if ok and type(sum) == 'table' then -- otherwise the key is missing, or another program wrote it
    for field, n in pairs(cmsgpack.unpack(new)) do
      local had = sum[field]
      sum[field] = type(had) == 'number' and had + n or n
    end
    new = cmsgpack.pack(sum)
  end
  redis.call('SET', minute, new, 'EX', ARGV[1])
end
if #ARGV > 4 then
  for i = 5, #ARGV, 2 do redis.pcall('ZINCRBY', hot, ARGV[i + 1], ARGV[i]) end
  redis.pcall('ZREMRANGEBYRANK', hot, 0, -1 - ARGV[3])
  redis.pcall('EXPIRE', hot, ARGV[2])
end
return 1
