-- purge, version 2
-- Deletes the waiting tasks of a queue.
--
-- KEYS  the lists of the queue
-- ARGV  none
-- returns how many tasks the lists had. A key that is not a list is an error; the lists before it are
-- deleted
local tasks = 0
for _, list in ipairs(KEYS) do
  local length = redis.pcall('LLEN', list)
  if type(length) == 'table' then return length end
  tasks = tasks + length
  redis.call('UNLINK', list)
end
return tasks
