-- ack_claim, version 3
-- Acknowledges a finished batch and claims the next messages, in one step.
--
-- The script writes a claimed message to the hash and the index before it removes it from its list.
-- If the script fails in between, the message is delivered twice but not lost. A message that is
-- not a JSON object (`{`..`}`) goes straight to the dead-letter stream. In the hash it would break
-- a Celery worker that restores messages from there. Claiming stops once the claimed messages reach
-- 4 MiB. A key that is not a list is skipped.
--
-- KEYS  1 unacked (hash)  2 unacked_index (zset)  3 dead letters (stream)
--       4.. the lists, in the order in which the script empties them
-- ARGV  1 how many messages to claim, 0..1000
--       2 the base of the tags, never used before: 'rs:<instance>:<call>:'
--         message i gets the tag base .. %04d
--       3 name of the worker  4 approximate number of dead letters to keep
--       5 the number of acknowledgements that follow, 0..1000
--       then the tags to acknowledge
--       then two for each list: the tail `,"","<queue as JSON>"]`, the queue's plain name
-- returns { positions of acknowledgements whose lease was lost,
--           for each list the number of claimed messages, or the error of reading it,
--           number of dead letters, message 1, .. }
-- error   'DUPCLAIM <base>' if the base was used before. Then nothing is claimed, but the
--         acknowledgements are done
local unacked, index, dead = KEYS[1], KEYS[2], KEYS[3]
local want, base, worker, keep, acks = tonumber(ARGV[1]), ARGV[2], ARGV[3], ARGV[4], tonumber(ARGV[5])
-- Removes nothing, but counts as a write. Redis lets a script that has written go on when memory
-- is full.
redis.call('ZREM', index, '')
local lost = {}
if acks > 0 then
  local tags = {}
  for i = 1, acks do tags[i] = ARGV[5 + i] end
  if redis.call('HDEL', unacked, unpack(tags)) ~= acks then
    -- A worker that takes over a lease clears hash and index in one step, so a tag without a score
    -- is lost.
    local scores = redis.call('ZMSCORE', index, unpack(tags))
    for i = 1, acks do
      if not scores[i] then lost[#lost + 1] = i end
    end
  end
  redis.call('ZREM', index, unpack(tags))
end
if want > 0 and redis.call('HEXISTS', unacked, base .. '0001') == 1 then
  return redis.error_reply('DUPCLAIM ' .. base)
end
local lists = #KEYS - 3
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
local taken, from = {}, {}
local reply = { lost, from, 0 }
local entries, scores, bad, good = {}, {}, {}, 0
local bytes, most = 0, 4194304
for k = 1, lists do
  -- Slices double in size, so that the byte limit stops the loop after few large messages.
  local before, got, slice, tail, queue = good, 0, 2, ARGV[4 + acks + 2 * k], ARGV[5 + acks + 2 * k]
  while good + #bad < want and bytes < most do
    local n = math.min(slice, want - good - #bad)
    local found = redis.pcall('LRANGE', KEYS[3 + k], -got - n, -got - 1)
    if found.err then
      from[k] = found.err
      break
    end
    for i = #found, 1, -1 do
      local raw = found[i]
      if raw:byte(1) == 123 and raw:byte(-1) == 125 then
        good = good + 1
        bytes = bytes + #raw
        local tag = base .. string.format('%04d', good)
        entries[2 * good - 1], entries[2 * good] = tag, '[' .. raw .. tail
        scores[2 * good - 1], scores[2 * good] = now, tag
        reply[3 + good] = raw
      else
        bad[#bad + 1] = { queue, raw }
      end
    end
    got = got + #found
    if #found < n then break end
    slice = 2 * slice
  end
  taken[k], from[k] = got, from[k] or good - before
end
for _, letter in ipairs(bad) do
  redis.call('XADD', dead, 'MAXLEN', '~', keep, '*', 'queue', letter[1], 'id', '', 'task', '',
    'cause', 'not-an-object', 'worker', worker, 'time', now, 'raw', letter[2])
end
if good > 0 then
  redis.call('HSET', unacked, unpack(entries))
  redis.call('ZADD', index, unpack(scores))
end
for k = 1, lists do
  if taken[k] > 0 then redis.call('LTRIM', KEYS[3 + k], 0, -1 - taken[k]) end
end
reply[3] = #bad
return reply
