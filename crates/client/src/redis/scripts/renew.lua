-- renew, version 1
-- Renews the leases of held messages: sets their scores to now, by Redis's clock. It ignores the
-- old scores, which repairs a score that lies in the future.
--
-- KEYS  1 unacked_index (zset)
-- ARGV  the tags, 1..1000
-- returns the positions of the tags whose lease was lost
local index = KEYS[1]
-- Removes nothing, but counts as a write. Redis lets a script that has written go on when memory
-- is full.
redis.call('ZREM', index, '')
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
local scores = redis.call('ZMSCORE', index, unpack(ARGV))
local lost, renewed = {}, {}
for i = 1, #ARGV do
  if scores[i] then
    renewed[#renewed + 1] = now
    renewed[#renewed + 1] = ARGV[i]
  else
    lost[#lost + 1] = i
  end
end
if #renewed > 0 then redis.call('ZADD', index, unpack(renewed)) end
return lost
