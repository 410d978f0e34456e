-- Before every script about a list. Its members cannot be told apart: nothing is merged into a load.
local TY = 'list'
local function has(k, m) return redis.call('LPOS', k, m) end
local add, remove
local function mark(k, token) redis.call('RPUSH', k, token) end
local function marked(k, token) return redis.call('LINDEX', k, 0) == token end
local function unmark(k, token) return marked(k, token) and redis.call('LPOP', k) end
-- ARGV[from..]: element ..., in the order of the list
local function fill(k, from) redis.call('RPUSH', k, unpack(ARGV, from)) end
