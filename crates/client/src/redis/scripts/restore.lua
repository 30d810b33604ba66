-- restore, version 2
-- Moves orphaned messages back to their lists, or to the dead letters. The caller has read them, judged them and
-- rewritten them; one that was renewed, acknowledged or restored in the meantime is left alone. Needs no mutex.
-- A destination that is no list makes the message a dead letter, so that those behind it are moved all the same.
--
-- KEYS  1 unacked (hash)  2 unacked_index (zset)  3 dead letters (stream)  4.. destination lists
-- ARGV  1 name of the worker  2 about how many dead letters to keep
--       then in sevens, for each message: tag, the score exactly as it was read, the places of its destinations in KEYS
--       (4.. joined by commas, or 3 for the dead letters), the message, its queue and id, and for a dead letter its cause
-- returns the number moved
local unacked, index, dead = KEYS[1], KEYS[2], KEYS[3]
redis.call('ZREM', index, '') -- changes nothing; a script that has written may go on writing when memory is full
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
