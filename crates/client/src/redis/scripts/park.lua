-- park, version 2
-- Lets claimed messages wait for their ETA.
--
-- The score of each becomes the time at which it is due, by Redis's clock. So a parked message
-- needs no renewal, and if its holder dies, it is restored one lease after that time.
--
-- KEYS  1 unacked_index (zset)
-- ARGV  pairs: tag, seconds until the message is due; 1..500 of them
-- returns the positions (of pairs) of the tags whose lease was lost
local index = KEYS[1]
-- Removes nothing, but counts as a write. Redis lets a script that has written go on when memory
-- is full.
redis.call('ZREM', index, '')
local time = redis.call('TIME')
local now = time[1] + time[2] / 1e6
local lost = {}
for i = 1, #ARGV / 2 do
  local tag, wait = ARGV[2 * i - 1], tonumber(ARGV[2 * i])
  if redis.call('ZSCORE', index, tag) then
    redis.call('ZADD', index, string.format('%.6f', now + wait), tag)
  else
    lost[#lost + 1] = i
  end
end
return lost
