-- park, version 1
-- Lets messages wait for their ETA: the time at which each is due becomes its score, so that it needs no renewal and
-- comes back by itself a lease after that time if its holder dies.
--
-- KEYS  1 unacked_index (zset)
-- ARGV  pairs: tag, ETA in Unix seconds; 1..500 of them
-- returns the positions (of pairs) of the tags that are gone
local index = KEYS[1]
redis.call('ZREM', index, '') -- changes nothing; a script that has written may go on writing when memory is full
local lost = {}
for i = 1, #ARGV / 2 do
  local tag, eta = ARGV[2 * i - 1], ARGV[2 * i]
  if redis.call('ZSCORE', index, tag) then
    redis.call('ZADD', index, eta, tag)
  else
    lost[#lost + 1] = i
  end
end
return lost
