-- enter_held, version 1
-- Ends a claim by native commands. It runs in one MULTI, after the HSET that has written the entries
-- of the messages to the hash.
--
-- If the held list is still that of this claim, the script writes the scores of the entries, moves
-- messages that are not objects to the dead letters, and deletes the held list. Otherwise it removes
-- the entries, except those that have a score: an earlier call has entered them. No message that has
-- an entry passes through Lua, which is the purpose of claims by native commands.
--
-- KEYS  1 the held list  2 owners of held lists (set)  3 unacked (hash)  4 unacked_index (zset)
--       5 dead letters (stream)
-- ARGV  1 the instance that owns the held list  2 the header of the held list
--       3 the number of messages in the held list
--       4 name of the worker  5 approximate number of dead letters to keep  6 the plain name of the queue
--       7 the number of tags that follow, 0..1000
--       then the tags, then the numbers of the messages that are not objects: 1 is the first claimed
-- returns 1, or 0 if the held list is gone or another one
-- error   if a key has another type. Then the entries are removed, and the held list stays
local held, owners, unacked, index, dead = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
local count, tags = tonumber(ARGV[3]), tonumber(ARGV[7])

local function remove_entries()
  for i = 8, 7 + tags do
    if type(redis.pcall('ZSCORE', index, ARGV[i])) ~= 'string' then redis.pcall('HDEL', unacked, ARGV[i]) end
  end
end

-- Runs a command. If it fails, removes the entries and ends the script with the error.
local function must(...)
  local answer = redis.pcall(...)
  if type(answer) == 'table' and answer.err then
    remove_entries()
    error(answer.err)
  end
  return answer
end

-- The header was the first to come into the list. So it is the last element, and message 1 is the
-- one before it.
if must('LRANGE', held, -1, -1)[1] ~= ARGV[2] or must('LLEN', held) ~= count + 1 then
  remove_entries()
  return 0
end
if tags > 0 and must('HEXISTS', unacked, ARGV[8]) ~= 1 then
  return redis.error_reply('ERR the entries are not in ' .. unacked)
end
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
for i = 8 + tags, #ARGV do
  local place = -1 - tonumber(ARGV[i])
  must('XADD', dead, 'MAXLEN', '~', ARGV[5], '*', 'queue', ARGV[6], 'id', '', 'task', '',
    'cause', 'not-an-object', 'worker', ARGV[4], 'time', now, 'raw', must('LRANGE', held, place, place)[1])
end
if tags > 0 then
  local scores = {}
  for i = 1, tags do scores[2 * i - 1], scores[2 * i] = now, ARGV[7 + i] end
  must('ZADD', index, unpack(scores))
end
redis.call('DEL', held)
redis.call('SREM', owners, ARGV[1])
return 1
