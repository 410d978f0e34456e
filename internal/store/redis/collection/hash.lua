-- Before every script about a hash.
local TY = 'hash'
local function has(k, f) return redis.call('HEXISTS', k, f) == 1 end
local function add(k, f, v) redis.call('HSET', k, f, v) end
local function remove(k, ...) return redis.call('HDEL', k, ...) end
local function mark(k, token) redis.call('HSET', k, token, '') end
local marked = has
local function unmark(k, token) return remove(k, token) == 1 end
-- ARGV[from..]: field, value ...
local function fill(k, from)
  for i = from, #ARGV, 2 do redis.call('HSETNX', k, ARGV[i], ARGV[i + 1]) end
end
