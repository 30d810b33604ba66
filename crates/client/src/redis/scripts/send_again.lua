-- send_again, version 1
-- Sends a failed task again, if its stored result is still the one that was read. The result is
-- replaced in the same step, so that a second call for the same failure sends nothing.
--
-- KEYS  1 the task's result  2 the queue's list  3.. sets of kombu's bindings
-- ARGV  1 SHA-1 of the result that was read  2 the result that takes its place, which keeps its time
--       to live  3 the message  4 the queue's member of each set. A server that refuses to add it
--       does not prevent the post
-- returns 1, or 0 if the result is another one or is gone. Then nothing is done
-- error   the server's, if the key of the list holds something else. Then nothing is done
local stored = redis.call('GET', KEYS[1])
if not stored or redis.sha1hex(stored) ~= ARGV[1] then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[3])
redis.call('SET', KEYS[1], ARGV[2], 'KEEPTTL')
for i = 3, #KEYS do redis.pcall('SADD', KEYS[i], ARGV[4]) end
return 1
