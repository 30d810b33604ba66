-- count_parts, version 5
-- Counts ended header members of chords, and the members that members have added to the header.
--
-- It uses the keys of Celery 5.7 and has the effects of Celery's script, so that Python workers and
-- this one count into one chord. Each member counts once, however often it is reported. The worker
-- that counts the last member claims the chord's body. The claim holds a word that names that
-- member. If the worker is killed before it publishes the body, the redelivered member finds its
-- own claim again.
--
-- A frozen chord may be applied again under the same ids. Then its first member may end before the
-- new size is stored, while the end of the previous run is still remembered. Celery 5.7 drops that
-- member. This script drops it only if its message was redelivered, since only then can it belong
-- to the previous run. A member that a producer sends twice looks like the first member of a new
-- run: its entries in .j and .d stay until they expire.
--
-- Members are added to the header once for each run of the task that adds them, before that task
-- counts as ended. A run that is repeated after a crash adds nothing.
--
-- KEYS  six for each member, the keys of its group:
--       .j  the counted members (zset, or list where results are not ordered)
--       .t  the number of members that were added to the header later
--       .s  the size of the header
--       .d  the ids and places of the counted members (set)
--       .c  the claim on the body
--       and the group's own key, with its saved result
-- ARGV  1 seconds .j, .t, .s and .d live (0: without limit)  2 seconds a claim lives
--       3 seconds the saved result of the group lives (0: without limit)
--       then seven for each member: its id, its place in the header or +inf,
--       '[1,<id>,<state>,<result>]' or '' if it has not ended, the claim's word, 1 if its message
--       was redelivered, else 0, the number of members that it adds, and the name of its run
-- returns for each member one of
--         { saved group or false, member 1, .. }  if the caller must publish the body
--         the error as text                       if it cannot be counted, for example because
--                                                 its keys have the wrong type
--         false                                   otherwise
--         An error does not stop the members of other chords from being counted
local ttl, hold, saved = tonumber(ARGV[1]), ARGV[2], tonumber(ARGV[3])
local types = { j = { 'zset', 'list' }, t = { 'string' }, s = { 'string' }, d = { 'set' }, c = { 'string' }, g = { 'string' } }

-- Returns an error text if these keys cannot be those of a chord.
local function problem(keys)
  for part, key in pairs(keys) do
    local found, wanted = redis.call('TYPE', key)['ok'], types[part]
    if found ~= 'none' and found ~= wanted[1] and found ~= wanted[2] then
      return 'WRONGTYPE ' .. key .. ' is a ' .. found
    end
  end
end

local function count(keys, id, place, part, word, redelivered, more, run)
  local j, t, s, d, c, g = keys.j, keys.t, keys.s, keys.d, keys.c, keys.g
  -- Reads like GET but counts as a write. Once a script has written, Redis lets it go on even when
  -- memory is full.
  local claim = redis.call('GETEX', c)
  if claim == 'done' and redelivered == '1' then return false end
  if more ~= '0' then
    if redis.call('SADD', d, run) == 1 then
      local grown = redis.pcall('INCRBY', t, more)
      if type(grown) == 'table' then return 'ERR ' .. t .. ' is not a number' end
    end
    if part == '' then
      if ttl > 0 then
        redis.call('EXPIRE', d, ttl)
        redis.call('EXPIRE', t, ttl)
      end
      return false
    end
  end
  local listed = redis.call('TYPE', j)['ok'] == 'list'
  if redis.call('SADD', d, id .. ':' .. place) == 1 then
    if listed then redis.call('RPUSH', j, part) else redis.call('ZADD', j, place, part) end
  end
  local counted
  if listed then counted = redis.call('LLEN', j) else counted = redis.call('ZCARD', j) end
  if ttl > 0 then
    for _, key in ipairs({ j, t, s, d }) do redis.call('EXPIRE', key, ttl) end
    if saved > 0 then redis.call('EXPIRE', g, saved) end
  end
  local size = redis.call('GET', s)
  if not size then return false end
  local whole, added = tonumber(size), tonumber(redis.call('GET', t) or 0)
  if not whole or not added then return 'ERR ' .. s .. ' or ' .. t .. ' is not a number' end
  if counted ~= whole + added or (claim ~= word and not redis.call('SET', c, word, 'NX', 'EX', hold)) then return false end
  redis.call('EXPIRE', c, hold)
  local answer = { redis.call('GET', g) }
  local members
  if listed then members = redis.call('LRANGE', j, 0, -1) else members = redis.call('ZRANGE', j, 0, -1) end
  for n = 1, #members do answer[1 + n] = members[n] end
  return answer
end

local answers = {}
for i = 1, #KEYS / 6 do
  local k, a = 6 * i - 6, 7 * i - 4
  local keys = { j = KEYS[k + 1], t = KEYS[k + 2], s = KEYS[k + 3], d = KEYS[k + 4], c = KEYS[k + 5], g = KEYS[k + 6] }
  answers[i] = problem(keys) or count(keys, unpack(ARGV, a + 1, a + 7))
end
return answers
