-- Before every script about a set.
local TY = 'set'
local function has(k, m) return redis.call('SISMEMBER', k, m) == 1 end
local function add(k, m) redis.call('SADD', k, m) end
local function remove(k, ...) return redis.call('SREM', k, ...) end
local mark, marked = add, has
local function unmark(k, token) return remove(k, token) == 1 end
-- ARGV[from..]: member ...
local function fill(k, from) redis.call('SADD', k, unpack(ARGV, from)) end
