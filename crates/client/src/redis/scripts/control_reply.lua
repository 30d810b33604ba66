-- control_reply, version 1
-- Sends a reply of remote control, if its client still waits for replies.
--
-- KEYS  1 the bindings of the exchange for replies  2 the client's list
-- ARGV  1 the binding of the client's list  2 the reply  3 seconds the list lives
-- returns 1 if the reply was sent, 0 if the client has gone
if redis.call('SISMEMBER', KEYS[1], ARGV[1]) == 0 then
  return 0
end
redis.call('LPUSH', KEYS[2], ARGV[2])
-- A client that died between its binding and its goodbye must not leave a list behind.
redis.call('EXPIRE', KEYS[2], ARGV[3])
return 1
