-- fair_sort, version 2
-- Moves messages from the head of a queue's list to the lists of its fair groups. Each key of
-- messages has a group of its own, so that claims can serve the keys in turn.
--
-- A message is always in one list. A call that is sent twice moves nothing twice, because the
-- messages are no longer at the head.
--
-- KEYS  1 a list of the queue  2 the groups (hash: digest of a key -> number of its group)
--       The script makes the names of the lists of groups. They are in the hash slot of these keys,
--       if there are slots
-- ARGV  1 what the name of a group's list begins with; the number follows  2 what follows the number
--       3 the most groups
--       then two for each message that was at the head: its SHA-1, and the digest of its key
-- returns the number of messages that were moved. Claims may have taken the first ones meanwhile: the
--         others are moved. It ends at a message that is not given, or whose group's list is not a
--         list
local list, groups = KEYS[1], KEYS[2]
local before, after, most = ARGV[1], ARGV[2], tonumber(ARGV[3])
-- Removes nothing, but counts as a write. Redis lets a script that has written go on when memory
-- is full.
redis.call('HDEL', groups, '')
local taken

-- Returns the number of the group of a key, and whether the key is new. If all groups are taken, the
-- key shares one.
local function group(digest)
  local number = redis.call('HGET', groups, digest)
  if number then return number, false end
  if not taken then
    taken = {}
    local all = redis.call('HGETALL', groups)
    for i = 2, #all, 2 do taken[all[i]] = true end
  end
  for each = 0, most - 1 do
    number = tostring(each)
    if not taken[number] then
      taken[number] = true
      redis.call('HSET', groups, digest, number)
      return number, true
    end
  end
  return tostring((tonumber(digest:sub(1, 8), 16) or 0) % most), false
end

local digests, moved = {}, 0
for at = 4, #ARGV, 2 do digests[ARGV[at]] = ARGV[at + 1] end
for _ = 4, #ARGV, 2 do
  local message = redis.call('LRANGE', list, -1, -1)[1]
  local digest = message and digests[redis.sha1hex(message)]
  if not digest then break end
  local number, is_new = group(digest)
  local done = redis.pcall('LMOVE', list, before .. number .. after, 'RIGHT', 'LEFT')
  if type(done) == 'table' then
    if is_new then redis.call('HDEL', groups, digest) end
    break
  end
  moved = moved + 1
end
return moved
