-- purge, version 1
-- Deletes the waiting tasks of a queue.
--
-- KEYS  the lists of the queue
-- ARGV  none
-- returns how many tasks the lists had
local tasks = 0
for _, list in ipairs(KEYS) do
  tasks = tasks + redis.call('LLEN', list)
  redis.call('UNLINK', list)
end
return tasks
