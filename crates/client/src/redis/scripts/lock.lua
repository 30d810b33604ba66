-- lock, version 1
-- Takes and frees the locks of unique tasks.
--
-- A lock belongs to a held message, by its tag. It is live while the tag is in unacked_index, and
-- until its time if it has one. Whatever ends the hold therefore ends the lock in that step. Its
-- value is the tag, its time (Unix microseconds, 0: none) and the id of the task, with a space
-- between them. The time may also have been set by a retry (see settle).
--
-- KEYS  1 unacked_index (zset)  2.. the key of the lock of each call (string)
-- ARGV  1 seconds for which a lock is stored beyond the time that its call waits: longer than a call
--       runs
--       then five for each call: 'take' or 'free', tag, id of the task, the microseconds that the
--       call waits for its ETA, the microseconds for which the lock is live in any case
-- returns for each call: '' it has the lock, or the lock is free; the id of the task that has it;
--         false if the message is no longer held
-- A message whose task has the lock under another tag takes it over, unless that tag is held, too.
-- A call that is sent twice takes one lock.
local index, kept = KEYS[1], tonumber(ARGV[1])
-- Removes nothing, but counts as a write. Redis lets a script that has written go on when memory
-- is full.
redis.call('ZREM', index, '')
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local function text(micros) return string.format('%.0f', micros) end

-- Returns the tag, the time and the id of a lock.
local function read(key)
  local value = redis.pcall('GET', key)
  if type(value) ~= 'string' then return end
  return value:match('^(%S+) (%d+) (.*)$')
end

local function take(key, tag, id, wait, live)
  if not redis.call('ZSCORE', index, tag) then return false end
  local owner, ends, name = read(key)
  if owner and owner ~= tag then
    if redis.call('ZSCORE', index, owner) then return name end
    if name ~= id and tonumber(ends) > now then return name end
  end
  -- The time of a lock counts from its first call; a time that a retry has set has served its purpose.
  if live == 0 then ends = '0' elseif name ~= id then ends = text(now + live) end
  redis.call('SET', key, tag .. ' ' .. ends .. ' ' .. id, 'PX',
    text(kept * 1000 + math.ceil(math.max(wait, tonumber(ends) - now, 0) / 1000)))
  return ''
end

local function free(key, tag)
  if read(key) == tag then redis.call('DEL', key) end
  return ''
end

local answers = {}
for i = 2, #KEYS do
  local at = 5 * (i - 2) + 2
  local key, tag = KEYS[i], ARGV[at + 1]
  if ARGV[at] == 'take' then
    answers[i - 1] = take(key, tag, ARGV[at + 2], tonumber(ARGV[at + 3]), tonumber(ARGV[at + 4]))
  else
    answers[i - 1] = free(key, tag)
  end
end
return answers
