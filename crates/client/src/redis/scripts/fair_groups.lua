-- fair_groups, version 1
-- Returns the fair groups of a queue that have messages, and forgets the others.
--
-- KEYS  1 the groups (hash: digest of a key -> number of its group; see fair_sort)
-- ARGV  1 what the name of a group's list begins with; the number follows
--       2 how many numbers to try, from 0, for lists with messages that are not in the hash. They
--         are added to it
--       3.. what follows the number, for each priority step
-- returns the numbers of the groups that have messages
local groups, kept, known = KEYS[1], {}, {}

local function length(number)
  local length = 0
  for step = 3, #ARGV do
    local found = redis.pcall('LLEN', ARGV[1] .. number .. ARGV[step])
    if type(found) == 'number' then length = length + found end
  end
  return length
end

local all = redis.call('HGETALL', groups)
for i = 1, #all, 2 do
  local number = all[i + 1]
  known[number] = true
  if length(number) > 0 then
    kept[#kept + 1] = tonumber(number)
  else
    redis.call('HDEL', groups, all[i])
  end
end
for number = 0, tonumber(ARGV[2]) - 1 do
  local name = tostring(number)
  if not known[name] and length(name) > 0 then
    redis.call('HSET', groups, 'list ' .. name, name)
    kept[#kept + 1] = number
  end
end
return kept
