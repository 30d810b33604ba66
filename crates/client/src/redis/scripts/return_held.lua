-- return_held, version 1
-- Puts the messages of a held list back at the head of their list, unchanged and in their order.
--
-- Nothing in a held list has been started, so the messages are not marked as redelivered. If the
-- destination is not a list, the messages become dead letters. A held list has one header for each
-- claim; the call returns what belongs to the oldest one. If the held list is gone, its owner is
-- removed from the set.
--
-- KEYS  1 the held list  2 owners of held lists (set)  3 unacked_index (zset)
--       4 dead letters (stream)  5 the list that the header names
-- ARGV  1 the instance that owns the held list  2 its header as it was read, or '' if it has none
--       3 the text with which each header of this owner begins
--       4 name of the worker  5 approximate number of dead letters to keep
-- returns the number of messages returned; 0 if the header is another one
-- error   if Redis refuses the destination. Then nothing is changed
local held, owners, index, dead, list = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5]
-- Removes nothing, but counts as a write. Redis lets a script that has written go on when memory
-- is full.
redis.call('ZREM', index, '')
local header = redis.call('LRANGE', held, -1, -1)[1]
if not header then
  redis.call('SREM', owners, ARGV[1])
  return 0
end
if header ~= ARGV[2] then return 0 end
local found = redis.call('LRANGE', held, 0, -2)
-- The messages of this header are those behind the next header, if there is one.
local first = 1
for i = #found, 1, -1 do
  if found[i]:sub(1, #ARGV[3]) == ARGV[3] then
    first = i + 1
    break
  end
end
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
for i = first, #found do
  local pushed = redis.pcall('RPUSH', list, found[i])
  if type(pushed) == 'table' then
    if not pushed.err:find('^WRONGTYPE') then error(pushed.err) end
    redis.call('XADD', dead, 'MAXLEN', '~', ARGV[5], '*', 'queue', '', 'id', '', 'task', '',
      'cause', 'not-a-list ' .. list, 'worker', ARGV[4], 'time', now, 'raw', found[i])
  end
end
if first == 1 then
  redis.call('DEL', held)
  redis.call('SREM', owners, ARGV[1])
else
  redis.call('LTRIM', held, 0, first - 2)
end
return #found - first + 1
