-- Posts a message unless an earlier call has posted it.
--
-- KEYS[1]  list of the queue
-- KEYS[2]  guard of the task's id
-- ARGV[1]  the message
-- ARGV[2]  seconds for which the guard is kept
--
-- Returns 1 if the message was posted, 0 if it had been posted before.
--
-- The push comes first: if it is refused (a full memory, a key of another type), nothing was
-- written, and the post can be repeated. Once a script has written, Redis also accepts its further
-- writes.
if redis.call('EXISTS', KEYS[2]) == 1 then
  return 0
end
redis.call('LPUSH', KEYS[1], ARGV[1])
redis.call('SET', KEYS[2], '1', 'EX', ARGV[2])
return 1
