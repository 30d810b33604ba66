-- count_begun, version 1
-- Counts how often messages were begun. Each delivery counts once, however often it is counted: what is kept is a set of
-- the deliveries' tags.
--
-- KEYS  a set for each message, 1..1000
-- ARGV  1 seconds a set lives  2 the most it counts up to
--       then for each message the tag of this delivery
-- returns for each message how many deliveries have been begun, this one included; 0 if that cannot be counted
local ttl, most = ARGV[1], tonumber(ARGV[2])
local counts = {}
for i = 1, #KEYS do
  local key = KEYS[i]
  -- Also the write after which a script may go on writing when memory is full.
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
