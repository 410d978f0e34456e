-- One look at H, the history of the data set of a master (history.go). It says which line of history the server is on, and
-- counts on.
--
-- KEYS: H
-- ARGV: line, at and id as the caller saw them last (or "", 0, ""); the name of a line, if one must begin; the time in ms;
--       the TTL of H in ms; the caches that the caller vouches for
-- Answers {id, bare, refusal, at, line, previous line, at of its end, caches, line that H had}; nothing on a replica.
local function field(text, name) return string.match(text, name .. ':([^\r\n]*)') or '' end
local replication, persistence = redis.call('info', 'replication'), redis.call('info', 'persistence')
if field(replication, 'role') ~= 'master' then return {} end
local loaded = field(persistence, 'rdb_last_load_keys_loaded')
local id = field(redis.call('info', 'server'), 'run_id') .. '.' .. field(replication, 'master_replid') .. '.' .. loaded
local bare = loaded == '0' and field(persistence, 'aof_enabled') == '0' and field(replication, 'second_repl_offset') == '-1'

local now, stood = tonumber(ARGV[5]), redis.pcall('get', KEYS[1])
local at, line, of, previous, ended, caches
if type(stood) == 'string' then
  at, line, of, previous, ended, caches = string.match(stood, '^(%d+) (%S+) (%S+) (%S+) (%d+)(.*)$')
end
local before, had = at or '0', line or ''
at = tonumber(at)
if not at then
  if ARGV[1] ~= '' and ARGV[3] == id then -- FLUSHALL, or it was evicted
    line, at = ARGV[1], math.max(tonumber(ARGV[2]) + 1, now)
  else
    line, at = ARGV[4], now
  end
  of, previous, ended, caches = id, '-', '0', ''
  if redis.pcall('dbsize') == 0 then caches = ' *' end
elseif of ~= id or line == ARGV[1] and at < tonumber(ARGV[2]) then -- the data set was loaded, or replaced
  previous, ended, line, of, caches = line, before, ARGV[4], id, ''
  at = math.max(at + 1, now)
elseif line == ARGV[1] and at == tonumber(ARGV[2]) then -- nobody has counted since
  at = math.max(at + 1, now)
end
if line == ARGV[1] and caches ~= ' *' then
  for i = 7, #ARGV do
    local item, name = ARGV[i], string.sub(ARGV[i], 1, 16)
    local known = string.find(caches, ' ' .. name .. '+', 1, true) or item == name and string.find(caches, ' ' .. name, 1, true)
    if not known and #caches < 65536 then
      caches = string.gsub(caches, ' ' .. name, '') .. ' ' .. item
    end
  end
end
local refusal, text = '', string.format('%.0f', at) .. ' ' .. line .. ' ' .. of .. ' ' .. previous .. ' ' .. ended .. caches
if text ~= stood then
  local done = redis.pcall('set', KEYS[1], text, 'px', ARGV[6])
  if done.err then
    refusal, at = done.err, tonumber(before)
  end
end
return {id, bare and '1' or '0', refusal, string.format('%.0f', at), line, previous, ended, caches, had}
