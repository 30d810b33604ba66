-- park, version 2
-- Lets messages wait for their ETA: the time at which each is due, by Redis's clock, becomes its score, so that it needs
-- no renewal and comes back by itself a lease after that time if its holder dies.
--
-- KEYS  1 unacked_index (zset)
-- ARGV  pairs: tag, seconds it has to wait; 1..500 of them
-- returns the positions (of pairs) of the tags that are gone
local index = KEYS[1]
redis.call('ZREM', index, '') -- changes nothing; a script that has written may go on writing when memory is full
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
