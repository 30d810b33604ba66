-- beat_fire, version 1
-- Sends the messages of an entry that is due, and moves its due time: one step, which is taken only
-- while the caller leads, and the due time and the entry are those that it has read. A call that is sent twice
-- therefore takes effect once, and a leader that was frozen for longer than its lease sends nothing.
--
-- KEYS  1 the leader  2 due times (zset)  3 entries (hash)  4 runs (hash, by name: '<count> <time>')
--       5 the list of the queue, if there are messages
-- ARGV  1 the token of the caller  2 name of the entry  3 its due time as it was read
--       4 its next due time, or '' if there is none  5 the entry as it was read, or '' if there was none
--       then the messages, 0..1000
-- returns 1 if that was done
--         0 if the due time or the entry is another one: another program has changed it
--         -1 if the caller does not lead
--         the error of Redis as text, if the key of the queue cannot take messages. The due time is moved
local leader, due, entries, runs = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local name, messages = ARGV[2], #ARGV - 5
-- Removes nothing, but counts as a write; see beat_look.
redis.call('ZREM', due, '')
if redis.call('GET', leader) ~= ARGV[1] then return -1 end
local score = redis.call('ZSCORE', due, name)
if not score or tonumber(score) ~= tonumber(ARGV[3]) then return 0 end
if (redis.call('HGET', entries, name) or '') ~= ARGV[5] then return 0 end
if ARGV[4] == '' then
  redis.call('ZREM', due, name)
else
  redis.call('ZADD', due, ARGV[4], name)
end
if messages == 0 then return 1 end
for i = 6, #ARGV do
  local pushed = redis.pcall('LPUSH', KEYS[5], ARGV[i])
  if type(pushed) == 'table' then return pushed.err end
end
local time = redis.call('TIME')
local count = tonumber((redis.call('HGET', runs, name) or '0'):match('^%d+')) or 0
redis.call('HSET', runs, name,
  string.format('%d %d', count + messages, time[1] * 1000 + math.floor(time[2] / 1000)))
return 1
