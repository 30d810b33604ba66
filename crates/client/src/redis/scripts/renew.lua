-- renew, version 1
-- Sets the leases of held messages to now, by Redis's clock. Not conditional on the old score: a score that ran ahead is repaired.
--
-- KEYS  1 unacked_index (zset)
-- ARGV  the tags, 1..1000
-- returns the positions of the tags that are gone
local index = KEYS[1]
redis.call('ZREM', index, '') -- changes nothing; a script that has written may go on writing when memory is full
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
