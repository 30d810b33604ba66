-- count_begun, version 1
-- Counts how often the tasks of messages were started. Each delivery counts once, however often the
-- script runs for it, because it keeps the tags of the deliveries in a set.
--
-- KEYS  a set for each message, 1..1000
-- ARGV  1 seconds a set lives  2 the count at which a set stops growing
--       then for each message the tag of this delivery
-- returns for each message the number of deliveries started, with this one
--         0 if it cannot be counted
local ttl, most = ARGV[1], tonumber(ARGV[2])
local counts = {}
for i = 1, #KEYS do
  local key = KEYS[i]
  -- This is also the first write. After it, the script may go on even if memory is full.
  redis.call('EXPIRE', key, ttl)
  local count = redis.pcall('SCARD', key)
  if type(count) == 'number' and count < most then
    redis.call('SADD', key, ARGV[2 + i])
    redis.call('EXPIRE', key, ttl)
    count = redis.call('SCARD', key)
  end
  counts[i] = type(count) == 'number' and count or 0
end
return counts
