-- restore, version 1
-- Moves orphaned messages back to their lists, or to the dead letters. The caller has read them, judged them and
-- rewritten them; one that was renewed, acknowledged or restored in the meantime is left alone. Needs no mutex.
--
-- KEYS  1 unacked (hash)  2 unacked_index (zset)  3 dead letters (stream)  4.. destination lists
-- ARGV  1 name of the worker  2 about how many dead letters to keep
--       then in fives, for each message: tag, the score exactly as it was read,
--       place of the destination in KEYS (4..), or 3 for the dead letters,
--       the message to push, or '' to drop an index entry without a body; the queue's name and cause for a dead letter
-- returns the number moved
local unacked, index, dead = KEYS[1], KEYS[2], KEYS[3]
redis.call('ZREM', index, '') -- changes nothing; a script that has written may go on writing when memory is full
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
local moved = 0
for i = 3, #ARGV, 5 do
  local tag, seen, place, message, note = ARGV[i], ARGV[i + 1], tonumber(ARGV[i + 2]), ARGV[i + 3], ARGV[i + 4]
  local score = redis.call('ZSCORE', index, tag)
  if score and tonumber(score) == tonumber(seen) then
    if redis.call('HEXISTS', unacked, tag) == 1 then
      if place == 3 then
        redis.call('XADD', dead, 'MAXLEN', '~', ARGV[2], '*', 'queue', '', 'id', '', 'task', '',
          'cause', note, 'worker', ARGV[1], 'time', now, 'raw', message)
      else
        redis.call('RPUSH', KEYS[place], message)
      end
      redis.call('HDEL', unacked, tag)
      moved = moved + 1
    end
    redis.call('ZREM', index, tag)
  end
end
return moved
