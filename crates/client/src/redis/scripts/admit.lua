-- admit, version 1
-- Lets calls of limited tasks begin, if the rate and the number of running calls in all workers
-- allow it.
--
-- A place in a set belongs to a held message, by its tag. It is taken only while the tag is in
-- unacked_index. Whatever ends the hold frees the place in that step: the settlement, the return of
-- the message, or the sweeper that restores the messages of a dead worker.
--
-- KEYS  1 unacked_index (zset)  2.. the keys of the limits: those of the places (zset, tag -> time
--       at which it was taken) and those of the rates (string, the time from which the next call
--       is on schedule), times in microseconds
-- ARGV  1 seconds for which a set of places is kept without a change
--       then five for each call: tag, the place in KEYS of its set of places (0: none), the most
--       places in that set, the place in KEYS of its rate (0: none), the microseconds between two
--       calls at that rate
-- returns for each call: 0 it may begin, -1 no place is free, -2 its message is no longer held,
--         otherwise the microseconds until its rate lets it begin
-- A call that is sent twice takes one place; at a rate it may take two turns.
local index = KEYS[1]
-- Removes nothing, but counts as a write. Redis lets a script that has written go on when memory
-- is full.
redis.call('ZREM', index, '')
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
-- A fast rate lets calls begin up to this many microseconds before their time. A worker then needs
-- no call of this script for each of them.
local early = 100000

local function text(micros) return string.format('%.0f', micros) end

-- Removes the places whose messages are no longer held. Returns the number of those that are left.
local function tidy(key)
  local tags = redis.call('ZRANGE', key, 0, -1)
  local left = 0
  for first = 1, #tags, 1000 do
    local last = math.min(first + 999, #tags)
    local scores = redis.call('ZMSCORE', index, unpack(tags, first, last))
    for i = first, last do
      if scores[i - first + 1] then left = left + 1 else redis.call('ZREM', key, tags[i]) end
    end
  end
  return left
end

local full = {} -- the sets that this call has found without a free place

-- Returns true if the set has a place for one more.
local function free(key, most)
  if full[key] then return false end
  full[key] = redis.call('ZCARD', key) >= most and tidy(key) >= most
  return not full[key]
end

-- Returns how long to wait for the rate, and the time that is stored if the call begins.
local function turn(key, interval)
  local burst = interval < early and early or 0
  local due = tonumber(redis.call('GET', key) or now)
  -- The clock was set back, or the rate has become higher.
  if due > now + interval + burst then due = now end
  return due - burst - now, math.max(due, now) + interval
end

local answers = {}
for i = 2, #ARGV, 5 do
  local tag, set, rate = ARGV[i], KEYS[tonumber(ARGV[i + 1])], KEYS[tonumber(ARGV[i + 3])]
  local interval = tonumber(ARGV[i + 4])
  local answer, due = 0, nil
  if not redis.call('ZSCORE', index, tag) then
    answer = -2
  elseif set and not redis.call('ZSCORE', set, tag) and not free(set, tonumber(ARGV[i + 2])) then
    answer = -1
  elseif rate then
    local wait
    wait, due = turn(rate, interval)
    if wait > 0 then answer = wait end
  end
  if answer == 0 then
    if set then
      redis.call('ZADD', set, text(now), tag)
      redis.call('EXPIRE', set, ARGV[1])
    end
    if rate then redis.call('SET', rate, text(due), 'PX', math.ceil((due - now) / 1000) + 1000) end
  end
  answers[#answers + 1] = answer
end
return answers
