-- fair_return, version 1
-- Moves messages of a queue's fair groups back to the head of the queue's own lists.
--
-- A message is always in one list. The messages of a group keep their order. Those of different
-- groups take turns, as far as their numbers allow: the next message to move is the newest one of
-- the longest group.
--
-- KEYS  1 the groups (hash; see fair_sort)  2.. the lists of the queue, the most urgent first
-- ARGV  1 what the name of a group's list begins with; the number follows
--       2 how many numbers to try, from 0, besides those in the hash  3 the most messages to move
--       4.. what follows the number, for each list of the queue
-- returns { number of messages that were moved, number of messages that are still in groups }
-- error   that of reading a list. A list that has another type is passed over
local groups, most = KEYS[1], tonumber(ARGV[3])
-- Removes nothing, but counts as a write. Redis lets a script that has written go on when memory
-- is full.
redis.call('HDEL', groups, '')
local numbers, known, fields = {}, {}, {}
local function add(number)
  if not known[number] then
    known[number] = true
    numbers[#numbers + 1] = number
  end
end
local all = redis.call('HGETALL', groups)
for i = 1, #all, 2 do
  fields[#fields + 1] = { all[i], all[i + 1] }
  add(all[i + 1])
end
for number = 0, tonumber(ARGV[2]) - 1 do add(tostring(number)) end

-- For each step, the lists of groups that have messages, and their lengths.
local steps, left, of_group = {}, 0, {}
for step = 4, #ARGV do
  local lists = {}
  for _, number in ipairs(numbers) do
    local name = ARGV[1] .. number .. ARGV[step]
    local found = redis.pcall('LLEN', name)
    if type(found) == 'number' then
      if found > 0 then lists[#lists + 1] = { name, found, number } end
      of_group[number] = (of_group[number] or 0) + found
      left = left + found
    elseif found.err:sub(1, 9) ~= 'WRONGTYPE' then
      return found
    end
  end
  steps[step - 2] = lists
end

local moved = 0
for list = 2, #KEYS do
  local lists = steps[list]
  while moved < most do
    local longest
    for _, each in ipairs(lists) do
      if each[2] > (longest and longest[2] or 0) then longest = each end
    end
    if not longest then break end
    local done = redis.pcall('LMOVE', longest[1], KEYS[list], 'LEFT', 'RIGHT')
    if type(done) == 'table' then return done end
    longest[2] = longest[2] - 1
    of_group[longest[3]] = of_group[longest[3]] - 1
    moved = moved + 1
  end
end
for _, field in ipairs(fields) do
  if of_group[field[2]] == 0 then redis.call('HDEL', groups, field[1]) end
end
return { moved, left - moved }
