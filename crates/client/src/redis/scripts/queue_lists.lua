-- queue_lists, version 1
-- Returns the lists of a queue and of its fair groups that have messages. It changes nothing.
--
-- KEYS  the lists of the queue, the most urgent first
-- ARGV  1 the hash of the groups (see fair_sort). It is not a key of the call, so that a user who may
--         not read it can still count the queue's own messages
--       2 what the name of a group's list begins with; the number follows
--       3.. what follows the number, for each list of the queue
-- returns { name, length, .. }, the most urgent first, and of each priority the queue's own list first
-- error   a list of the queue is not a list. TRYAGAIN: the slot of the keys is moving.
--         A group that the user may not read, or that has another type, does not count
local numbers = {}

local all = redis.pcall('HGETALL', ARGV[1])
if all.err then
  local failed = moving(all)
  if failed then return failed end
else
  for i = 2, #all, 2 do numbers[#numbers + 1] = all[i] end
end
table.sort(numbers, function(a, b) return (tonumber(a) or 0) < (tonumber(b) or 0) end)
local found = {}
for step = 1, #KEYS do
  local length = redis.pcall('LLEN', KEYS[step])
  if type(length) == 'table' then return length end
  if length > 0 then
    found[#found + 1], found[#found + 2] = KEYS[step], length
  end
  local last
  for _, number in ipairs(numbers) do
    if number ~= last then
      local name = ARGV[2] .. number .. ARGV[2 + step]
      length = redis.pcall('LLEN', name)
      if type(length) == 'table' then
        local failed = moving(length)
        if failed then return failed end
      elseif length > 0 then
        found[#found + 1], found[#found + 2] = name, length
      end
    end
    last = number
  end
end
return found
