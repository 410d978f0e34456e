-- Announces a database write. A sending without an answer is followed by one with a fresh token that names the earlier
-- ones: those are taken out, and disturb nobody.
-- KEYS  value or collection, sidecar; or the sidecar alone
-- ARGV  token, ms to live, earlier token ...
-- Returns 1
if K then redis.call('UNLINK', K) end
local px, new = tonumber(ARGV[2]), '!c,' .. ARGV[1] .. ','
if l and string.sub(l, 1, 1) == '!' then
  px = math.max(px, left())
  if #l > 1 then
    if string.find(l, ',' .. ARGV[1] .. ',', 1, true) then return 1 end
    local others = without(3)
    if #others > 1 then new = '!d' .. others .. ARGV[1] .. ',' end
  end
end
set(new, px)
return 1
