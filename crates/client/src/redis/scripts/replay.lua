-- replay, version 1
-- Puts a dead letter back into its queue unchanged and deletes it from the dead letters. The script
-- does both or neither, and only once for a letter.
--
-- KEYS  1 dead letters (stream)  2 the queue's list  3 the count of its redeliveries
-- ARGV  1 the letter's id in the stream
-- returns 1, or 0 if the stream does not hold this letter
-- error   'NORAW ..' if the letter has no message
local found = redis.call('XRANGE', KEYS[1], ARGV[1], ARGV[1])
if not found[1] then return 0 end
local fields, raw = found[1][2], nil
for i = 1, #fields, 2 do
  if fields[i] == 'raw' then raw = fields[i + 1] end
end
if not raw then return redis.error_reply('NORAW the letter has no message') end
redis.call('DEL', KEYS[3])
redis.call('LPUSH', KEYS[2], raw)
return redis.call('XDEL', KEYS[1], ARGV[1])
