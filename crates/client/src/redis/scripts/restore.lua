-- restore, version 2
-- Moves orphaned messages back to their lists, or to the dead letters.
--
-- The caller has read and checked the messages and rewritten those that need it. A message that was
-- renewed, acknowledged or restored in the meantime is left alone, so no mutex is needed. If a
-- destination is not a list, the message becomes a dead letter, so that it does not block the next
-- ones.
--
-- KEYS  1 unacked (hash)  2 unacked_index (zset)  3 dead letters (stream)  4.. destination lists
-- ARGV  1 name of the worker  2 approximate number of dead letters to keep
--       then seven for each message: tag, the score exactly as it was read, the places of its
--       destinations in KEYS (4.. joined by commas, or 3 for the dead letters), the message, its
--       queue, its id, and for a dead letter its cause
-- returns the number of messages moved
local unacked, index, dead = KEYS[1], KEYS[2], KEYS[3]
-- Removes nothing, but counts as a write. Redis lets a script that has written go on when memory
-- is full.
redis.call('ZREM', index, '')
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
local moved = 0
for i = 3, #ARGV, 7 do
  local tag, seen, places, message = ARGV[i], ARGV[i + 1], ARGV[i + 2], ARGV[i + 3]
  local score = redis.call('ZSCORE', index, tag)
  if score and tonumber(score) == tonumber(seen) then
    if redis.call('HEXISTS', unacked, tag) == 1 then
      local cause = places == '3' and ARGV[i + 6]
      if not cause then
        for place in places:gmatch('%d+') do
          local pushed = redis.pcall('RPUSH', KEYS[tonumber(place)], message)
          if type(pushed) == 'table' then cause = 'not-a-list' end
        end
      end
      if cause then
        redis.call('XADD', dead, 'MAXLEN', '~', ARGV[2], '*', 'queue', ARGV[i + 4], 'id', ARGV[i + 5], 'task', '',
          'cause', cause, 'worker', ARGV[1], 'time', now, 'raw', message)
      end
      redis.call('HDEL', unacked, tag)
      moved = moved + 1
    end
    redis.call('ZREM', index, tag)
  end
end
return moved
