-- revoke, version 1
-- Keeps the ids of revoked tasks, so that workers that start later know them.
--
-- KEYS  1 the sorted set of revoked ids, by the time at which each revocation ends
-- ARGV  1 seconds a revocation lives  2 the most ids  then the ids, 1..1000
-- returns the number of ids that are kept
local now = tonumber(redis.call('TIME')[1])
local life, most = tonumber(ARGV[1]), tonumber(ARGV[2])
-- This is also the first write. After it, the script may go on even if memory is full.
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now)
for i = 3, #ARGV do
  redis.call('ZADD', KEYS[1], now + life, ARGV[i])
end
redis.call('ZREMRANGEBYRANK', KEYS[1], 0, -1 - most)
redis.call('EXPIRE', KEYS[1], life)
return redis.call('ZCARD', KEYS[1])
