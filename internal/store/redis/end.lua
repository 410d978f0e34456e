-- Tells that a write is over. Its value is put only if its intent stands and is clean: then nobody wrote beside it; and
-- not if Redis is full.
-- KEYS  value or collection, sidecar; or the sidecar alone: then nothing is put
-- ARGV  hold ms, 'P' put or 'D' drop, value, ms to live, token, earlier token ...
-- Returns 1 if the value was put
local hold, put, others = tonumber(ARGV[1]), false, ''
if intents() then
  put = ARGV[2] == 'P' and string.sub(l, 2, 2) == 'c' and string.find(l, ',' .. ARGV[5] .. ',', 1, true)
  others = without(5)
end
put = put and K and redis.pcall('SET', K, ARGV[3], 'PX', ARGV[4]).ok
if K and not put then redis.call('UNLINK', K) end
if #others > 1 then set('!d' .. others, math.max(hold, left()))
elseif l == '!' then set('!', math.max(hold, left()))
elseif hold > 0 then set('!', hold)
elseif l then redis.call('DEL', L) end
return put and 1 or 0
