-- settle, version 8
-- Settles tasks: results, follow-up messages, dead letters, and last of all the acknowledgement.
-- The steps of a task are done only while its tag is held; otherwise none of them is. A call that
-- is sent twice takes effect once. The tail of a held message is the text that follows it in the
-- hash (see ack_claim). It uses the function of succeeded.lua.
--
-- KEYS  1 unacked (hash)  2 unacked_index (zset)  3 dead letters (stream)
--       4.. the keys of the steps. A step names the place of its first key; its other keys follow
--       that one. A group has these keys: its own, which holds its saved result, and with a suffix
--       .s the size of the header of its chord, .c the claim on the body of its chord, .j the
--       results of its members, .t the number of its members that were added later, .d the ids of
--       its counted members
-- ARGV  1 seconds a result lives (0: without limit)  2 name of the worker
--       3 approximate number of dead letters to keep
--       4 the number of tasks, 1..1000
--       5 the form of their steps: 'results' or 'steps'
--       6.. the tags of the tasks, in their order. What follows depends on the form.
--       Form 'results': each task has one step, 'result'. For each task, its document.
--       KEYS[3 + i] is the key of the result of task i
--       Form 'steps': for each task, the number of its steps, then the steps:
--         'result' <place> <document>
--                  stores and publishes the document unless a SUCCESS is stored already, which
--                  keeps its time to live. If the server refuses to publish, the document is only
--                  stored: clients that wait for a result also read it from time to time. With an
--                  empty document nothing is done: the caller has found a SUCCESS in a form that the
--                  script cannot read
--         'failure' <place> <document> <seconds>
--                  like 'result', for a document that lives for these seconds (0: without limit)
--         'push'   <place> <message>
--                  to the end of a list; if the key is not a list, to the dead letters
--         'front'  <place> <message>
--                  to the head of a list: next to be consumed
--         'return' <place> <length of tail>
--                  puts the held message itself, unchanged, to the head of a list
--         'dead'   <length of tail> <queue> <id> <task> <cause>
--                  puts the held message itself to the dead letters
--         'note'   <queue> <id> <task> <cause> <raw>
--                  adds another message to the dead letters
--         'chord'  <place> <size> <saved> <seconds> <seconds of saved>
--                  begins a chord. Its keys: .s, .c, the group's own. Stores the size of its header,
--                  and the saved result of its group unless that is empty. Each lives for its
--                  seconds (0: without limit)
--         'join'   <place> <word> <steps>
--                  ends a chord. Its keys: .c, .j, .t, .s, .d. Deletes them, and keeps a claim that
--                  says that the chord is done. If another member holds the claim on the body,
--                  skips the given number of steps after this one
--         'lock'   <place> <microseconds>
--                  frees a lock of the message (see lock.lua), unless it has a time. With
--                  microseconds, it stays live for at least these, for the next run of the task
-- returns { positions of the tasks whose lease was lost,
--           for each task that could not be settled, its position, then its error,
--           if the server refused to publish, the error }
--         A task that could not be settled is still held. The step that failed and the steps
--         after it were not done
local unacked, index, dead = KEYS[1], KEYS[2], KEYS[3]
local ttl, worker, keep, n = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4])
-- Removes nothing, but counts as a write. Redis lets a script that has written go on when memory
-- is full.
redis.call('ZREM', index, '')
local time = redis.call('TIME')
local now = string.format('%d.%06d', time[1], time[2])
local tags = {}
for i = 1, n do tags[i] = ARGV[5 + i] end
local scores = redis.call('ZMSCORE', index, unpack(tags))
local operands = { result = 2, failure = 3, push = 2, front = 2, ['return'] = 2, dead = 5, note = 5, chord = 5, join = 3, lock = 2 }
-- The seconds for which an ended chord is remembered, as in Celery. A member that is counted after
-- these 300 s starts the count of the chord from the beginning.
local remembered = 300
local unheard -- why a result could not be published

local function set(key, value, seconds)
  if seconds == '0' then return redis.pcall('SET', key, value) end
  return redis.pcall('SET', key, value, 'EX', seconds)
end

-- Stores and publishes a document unless a SUCCESS is stored. Most results have no document before
-- them, so the first write tells whether the stored one has to be read. Returns an error or nil.
local function store(key, document, seconds)
  if document == '' then return end
  local done
  if seconds == '0' then
    done = redis.pcall('SET', key, document, 'NX')
  else
    done = redis.pcall('SET', key, document, 'NX', 'EX', seconds)
  end
  if not done then
    if succeeded(redis.pcall('GET', key)) then return end
    done = set(key, document, seconds)
  end
  if done.err then return done end
  local published = redis.pcall('PUBLISH', key, document)
  if type(published) == 'table' then unheard = published.err end
end

local function letter(queue, id, task, cause, raw)
  return redis.pcall('XADD', dead, 'MAXLEN', '~', keep, '*', 'queue', queue, 'id', id, 'task', task,
    'cause', cause, 'worker', worker, 'time', now, 'raw', raw)
end

-- Frees a lock of this tag, or keeps it without a tag until its time.
local function unlock(key, tag, micros)
  local value = redis.pcall('GET', key)
  local owner, ends, id
  if type(value) == 'string' then owner, ends, id = value:match('^(%S+) (%d+) (.*)$') end
  if owner ~= tag then return end
  local present = time[1] * 1000000 + time[2]
  local last = math.max(tonumber(ends), micros > 0 and present + micros or 0)
  if last <= present then return redis.call('DEL', key) end
  redis.call('SET', key, '- ' .. string.format('%.0f', last) .. ' ' .. id, 'PX',
    string.format('%.0f', math.ceil((last - present) / 1000)))
end

local function step(tag, at)
  local kind, a, b = ARGV[at], ARGV[at + 1], ARGV[at + 2]
  if kind == 'result' then
    return store(KEYS[tonumber(a)], b, ttl)
  elseif kind == 'failure' then
    return store(KEYS[tonumber(a)], b, ARGV[at + 3])
  elseif kind == 'push' then
    local key = KEYS[tonumber(a)]
    local pushed = redis.pcall('LPUSH', key, b)
    -- The task has run, and running it again would not turn the key into a list.
    if type(pushed) == 'table' then return letter('', '', '', 'not-a-list ' .. key, b) end
  elseif kind == 'front' then
    return redis.pcall('RPUSH', KEYS[tonumber(a)], b)
  elseif kind == 'return' then
    local entry = redis.call('HGET', unacked, tag)
    return entry and redis.pcall('RPUSH', KEYS[tonumber(a)], entry:sub(2, -1 - tonumber(b)))
  elseif kind == 'dead' then
    local entry = redis.call('HGET', unacked, tag)
    return entry and letter(b, ARGV[at + 3], ARGV[at + 4], ARGV[at + 5], entry:sub(2, -1 - tonumber(a)))
  elseif kind == 'chord' then
    local size, saved = tonumber(a), ARGV[at + 3]
    redis.call('DEL', KEYS[size + 1])
    local done = saved ~= '' and set(KEYS[size + 2], saved, ARGV[at + 5])
    if type(done) == 'table' and done.err then return done end
    return set(KEYS[size], b, ARGV[at + 4])
  elseif kind == 'lock' then
    unlock(KEYS[tonumber(a)], tag, tonumber(b))
  elseif kind == 'join' then
    local c = tonumber(a)
    local claim = redis.pcall('GET', KEYS[c])
    if type(claim) == 'table' then return claim end
    if claim ~= b and (claim or redis.call('EXISTS', KEYS[c + 3]) == 0) then return { skip = tonumber(ARGV[at + 3]) } end
    redis.call('DEL', KEYS[c + 1], KEYS[c + 2], KEYS[c + 3], KEYS[c + 4])
    redis.call('SET', KEYS[c], 'done', 'EX', remembered)
  else
    return letter(a, b, ARGV[at + 3], ARGV[at + 4], ARGV[at + 5])
  end
end

local lost, failed, own = {}, {}, {}

-- Notes what became of a task whose tag is held.
local function note(i, problem)
  if problem then
    failed[#failed + 1] = i
    failed[#failed + 1] = problem
  else
    own[#own + 1] = tags[i]
  end
end

if ARGV[5] == 'results' then
  for i = 1, n do
    if scores[i] then
      local done = store(KEYS[3 + i], ARGV[5 + n + i], ttl)
      note(i, done and done.err)
    else
      lost[#lost + 1] = i
    end
  end
else
  local at = 6 + n
  for i = 1, n do
    local steps, skip = tonumber(ARGV[at]), 0
    local problem
    at = at + 1
    for _ = 1, steps do
      if skip > 0 then
        skip = skip - 1
      elseif scores[i] and not problem then
        local done = step(tags[i], at)
        if type(done) == 'table' then problem, skip = done.err, done.skip or 0 end
      end
      at = at + 1 + operands[ARGV[at]]
    end
    if scores[i] then note(i, problem) else lost[#lost + 1] = i end
  end
end
if #own > 0 then
  redis.call('HDEL', unacked, unpack(own))
  redis.call('ZREM', index, unpack(own))
end
return { lost, failed, unheard }
