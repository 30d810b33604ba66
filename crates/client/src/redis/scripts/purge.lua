-- purge, version 3
-- Deletes the waiting tasks of a queue, with those in its fair groups.
--
-- KEYS  the lists of the queue
-- ARGV  nothing, or all of these:
--       1 the hash of the groups (see fair_sort). It is not a key of the call, so that a user who may
--         not touch groups can still purge the queue's own lists
--       2 what the name of a group's list begins with; the number follows
--       3 how many numbers to try, from 0, besides those in the hash
--       4.. what follows the number, for each priority step
-- returns how many tasks the lists had. A key that is not a list is an error; the groups, and the
-- lists before it, are deleted
-- error   TRYAGAIN: the slot of the keys is moving. A group that the user may not read, or that has
--         another type, stays
local tasks = 0

-- Deletes the list of a group.
local function delete(list)
  local length = redis.pcall('LLEN', list)
  if type(length) == 'table' then return moving(length) end
  if length > 0 then
    redis.call('UNLINK', list)
    tasks = tasks + length
  end
end

if #ARGV > 0 then
  local numbers = {}
  local all = redis.pcall('HGETALL', ARGV[1])
  local failed = all.err and moving(all)
  if failed then return failed end
  for i = 2, #all, 2 do numbers[#numbers + 1] = all[i] end
  for number = 0, tonumber(ARGV[3]) - 1 do numbers[#numbers + 1] = tostring(number) end
  for _, number in ipairs(numbers) do
    for step = 4, #ARGV do
      local failed = delete(ARGV[2] .. number .. ARGV[step])
      if failed then return failed end
    end
  end
end
for _, list in ipairs(KEYS) do
  local length = redis.pcall('LLEN', list)
  if type(length) == 'table' then return length end
  tasks = tasks + length
  redis.call('UNLINK', list)
end
return tasks
