-- fetch_parked, version 1
-- Returns the parked messages that are due and renews their leases in the same step.
--
-- KEYS  1 unacked (hash)  2 unacked_index (zset)
-- ARGV  the tags, 1..500
-- returns for each tag the entry `[<message>,"","<queue>"]`, or false if its lease was lost
local unacked, index = KEYS[1], KEYS[2]
-- Removes nothing, but counts as a write. Redis lets a script that has written go on when memory
-- is full.
redis.call('ZREM', index, '')
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
local entries = redis.call('HMGET', unacked, unpack(ARGV))
local scores = redis.call('ZMSCORE', index, unpack(ARGV))
local renewed = {}
for i = 1, #ARGV do
  if entries[i] and scores[i] then
    renewed[#renewed + 1] = now
    renewed[#renewed + 1] = ARGV[i]
  else
    entries[i] = false
  end
end
if #renewed > 0 then redis.call('ZADD', index, unpack(renewed)) end
return entries
