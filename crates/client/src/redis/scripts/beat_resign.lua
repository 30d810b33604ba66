-- beat_resign, version 1
-- Ends the lease of the leader of schedules, if the caller still has it.
--
-- KEYS  1 the leader
-- ARGV  1 the token of the caller
-- returns 1, or 0 if the caller does not lead
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
return redis.call('DEL', KEYS[1])
