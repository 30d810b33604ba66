-- fair_groups, version 1
-- Returns the fair groups of a queue that have messages, and forgets the others.
--
-- KEYS  1 the groups (hash: digest of a key -> number of its group; see fair_sort)
-- ARGV  1 what the name of a group's list begins with; the number follows
--       2.. what follows the number, for each priority step
-- returns the numbers of the groups that have messages
local groups, kept = KEYS[1], {}
local all = redis.call('HGETALL', groups)
for i = 1, #all, 2 do
  local number, length = all[i + 1], 0
  for step = 2, #ARGV do
    local found = redis.pcall('LLEN', ARGV[1] .. number .. ARGV[step])
    if type(found) == 'number' then length = length + found end
  end
  if length > 0 then
    kept[#kept + 1] = tonumber(number)
  else
    redis.call('HDEL', groups, all[i])
  end
end
return kept
