-- fair_groups, version 2
-- Returns the fair groups of a queue that have messages, and forgets those that have none.
--
-- A group is forgotten only if its lists were read and are empty. The lists cannot be read while
-- their slot moves to another node of a cluster, or if the user lacks the right.
--
-- KEYS  1 the groups (hash: digest of a key -> number of its group; see fair_sort)
-- ARGV  1 what the name of a group's list begins with; the number follows
--       2 how many numbers to try, from 0, for lists with messages that are not in the hash. They
--         are added to it
--       3 the most numbers to return. Groups beyond it are returned once others are empty
--       4.. what follows the number, for each priority step
-- returns { { numbers of groups that have messages }, { numbers of groups that could not be read },
--           the last error of reading one, or '' }
local groups, most = KEYS[1], tonumber(ARGV[3])
local kept, unread, known, why = {}, {}, {}, ''

-- Returns the number of messages of a group, or nil if it is not known. A list of another type has
-- none.
local function length(number)
  local length, failed = 0, false
  for step = 4, #ARGV do
    local found = redis.pcall('LLEN', ARGV[1] .. number .. ARGV[step])
    if type(found) == 'number' then
      length = length + found
    elseif found.err:sub(1, 9) ~= 'WRONGTYPE' then
      failed, why = true, found.err
    end
  end
  if failed and length == 0 then return nil end
  return length
end

local all = redis.call('HGETALL', groups)
for i = 1, #all, 2 do
  local number = all[i + 1]
  local value = tonumber(number)
  -- Other numbers are not from a worker, and no list of a group has such a name.
  if value and value < 65536 and tostring(value) == number then
    local found = not known[number] and length(number)
    known[number] = true
    if found == nil then
      unread[#unread + 1] = value
    elseif found == 0 then
      redis.call('HDEL', groups, all[i])
    elseif found and #kept < most then
      kept[#kept + 1] = value
    end
  end
end
for number = 0, tonumber(ARGV[2]) - 1 do
  local name = tostring(number)
  if not known[name] and (length(name) or 0) > 0 then
    redis.call('HSET', groups, 'list ' .. name, name)
    if #kept < most then kept[#kept + 1] = number end
  end
end
return { kept, unread, why }
