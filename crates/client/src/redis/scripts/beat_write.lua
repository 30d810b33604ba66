-- beat_write, version 1
-- Adds, changes or removes an entry of the schedules, if it is still as the caller has read it.
--
-- KEYS  1 due times (zset)  2 entries (hash)  3 runs (hash)
-- ARGV  1 name of the entry  2 the entry as it was read, or '' if there was none
--       3 the new entry, or '' to remove it
--       4 what becomes of its due time: 'keep', 'compute' (the leader computes it from now on),
--         or 'stop' (it is not due)
-- returns 1, or 0 if the stored entry is another one
local due, entries, runs = KEYS[1], KEYS[2], KEYS[3]
local name, read, entry, what = ARGV[1], ARGV[2], ARGV[3], ARGV[4]
-- Removes nothing, but counts as a write; see beat_look.
redis.call('ZREM', due, '')
if (redis.call('HGET', entries, name) or '') ~= read then return 0 end
if entry == '' then
  redis.call('HDEL', entries, name)
  redis.call('HDEL', runs, name)
  redis.call('ZREM', due, name)
  return 1
end
redis.call('HSET', entries, name, entry)
if what == 'compute' then
  redis.call('ZADD', due, 0, name)
elseif what == 'stop' then
  redis.call('ZREM', due, name)
else
  redis.call('ZADD', due, 'NX', 0, name)
end
return 1
