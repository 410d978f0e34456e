-- Before every script about a sorted set. A value is a score, as the caller wrote it: Lua's numbers would lose digits.
local TY = 'zset'
local function has(k, m) return redis.call('ZSCORE', k, m) end
local function add(k, m, v) redis.call('ZADD', k, v, m) end
local function remove(k, ...) return redis.call('ZREM', k, ...) end
local function mark(k, token) redis.call('ZADD', k, 0, token) end
local marked = has
local function unmark(k, token) return remove(k, token) == 1 end
-- ARGV[from..]: score, member ...
local function fill(k, from) redis.call('ZADD', k, 'NX', unpack(ARGV, from)) end
