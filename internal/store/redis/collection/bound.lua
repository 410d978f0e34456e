-- Before both scripts that ask for the right to load.
-- Brings the end of another's sidecar nearer that no live process can have written so. Returns the sidecar, or false if it counts
-- as nothing.
--   a lease with more time left than a lease has, or without an end: cut to a lease. If its holder lives, it renews it.
--   a barrier without an end: cut to a day, which is longer than any write that it may stand for.
--   an absence without an end: nobody knows how old it is.
local function bounded(side, content, lease)
  local left = redis.call('PTTL', side)
  if content == '-' then return left >= 0 and content end
  if string.sub(content, 1, 1) == '!' then
    if left < 0 then redis.call('SET', side, content, 'PX', 86400000) end
  elseif left < 0 or left > tonumber(lease) then redis.call('SET', side, content, 'PX', lease) end
  return content
end
