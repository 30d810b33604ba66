-- beat_look, version 1
-- Takes or renews the lease of the leader of schedules, and returns the entries that are due. All
-- times are Unix milliseconds by Redis's clock.
--
-- KEYS  1 the leader (string '<instance>:<fence>')  2 due times (zset, by name)  3 entries (hash)
--       4 the number of the last fence (string)
-- ARGV  1 the instance that asks  2 milliseconds a lease lasts  3 the most entries to return, 1..1000
-- returns { now, the leader's token, milliseconds until its lease ends } if another instance leads,
--         or { now, the caller's token, milliseconds until its lease ends,
--              the next due time that is later than now, or '',
--              for each entry that is due: its name, its due time as it is stored,
--              the entry, or '' if there is none }
-- Removes nothing, but counts as a write. Redis lets a script that has written go on when memory is
-- full.
redis.call('ZREM', KEYS[2], '')
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease, most = tonumber(ARGV[2]), tonumber(ARGV[3])
local token = redis.call('GET', KEYS[1])
if not token then
  token = ARGV[1] .. ':' .. redis.call('INCR', KEYS[4])
  redis.call('SET', KEYS[1], token, 'PX', lease)
elseif token:sub(1, #ARGV[1] + 1) == ARGV[1] .. ':' then
  redis.call('SET', KEYS[1], token, 'PX', lease)
else
  return { now, token, redis.call('PTTL', KEYS[1]) }
end
local upto = string.format('%d', now)
local later = redis.call('ZRANGE', KEYS[2], '(' .. upto, '+inf', 'BYSCORE', 'LIMIT', 0, 1, 'WITHSCORES')
local answer = { now, token, lease, later[2] or '' }
local due = redis.call('ZRANGE', KEYS[2], '-inf', upto, 'BYSCORE', 'LIMIT', 0, most, 'WITHSCORES')
for i = 1, #due, 2 do
  answer[#answer + 1] = due[i]
  answer[#answer + 1] = due[i + 1]
  answer[#answer + 1] = redis.call('HGET', KEYS[3], due[i]) or ''
end
return answer
