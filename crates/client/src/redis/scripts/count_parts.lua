-- count_parts, version 1
-- Counts members of chords' headers that have ended. Says and does what the script of Celery 5.7 does, whose keys these are,
-- so that Python's workers and ours count into one chord. Each member counts once, however often it is counted. Whoever
-- counts the last one claims the body; a claim names that member, so that a worker that was killed before it could
-- publish the body finds its own claim again when it has the message again.
--
-- KEYS  six for each member: those of its group that end in .j (zset, or list where results are not ordered), .t, .s,
--       .d (set), .c, and that of the group itself
-- ARGV  1 seconds all of them live (0: for ever)  2 seconds a claim lives
--       then four for each member: its id, its place in the header or +inf, '[1,<id>,<state>,<result>]', the claim's word
-- returns for each member false, or, if the body is to be published by the caller, { saved group or false, member 1, .. }
local ttl, hold = tonumber(ARGV[1]), ARGV[2]
local answers = {}
for i = 1, #KEYS / 6 do
  local k, a = 6 * i - 6, 4 * i - 2
  local j, t, s, d, c, g = KEYS[k + 1], KEYS[k + 2], KEYS[k + 3], KEYS[k + 4], KEYS[k + 5], KEYS[k + 6]
  local id, place, part, word = ARGV[a + 1], ARGV[a + 2], ARGV[a + 3], ARGV[a + 4]
  -- Reads like GET and counts as a write: a script that has written may go on writing when memory is full.
  local claim = redis.call('GETEX', c)
  answers[i] = false
  if claim ~= 'done' then
    local listed = redis.call('TYPE', j)['ok'] == 'list'
    if redis.call('SADD', d, id .. ':' .. place) == 1 then
      if listed then redis.call('RPUSH', j, part) else redis.call('ZADD', j, place, part) end
    end
    local count
    if listed then count = redis.call('LLEN', j) else count = redis.call('ZCARD', j) end
    if ttl > 0 then
      for _, key in ipairs({ j, t, s, d, g }) do redis.call('EXPIRE', key, ttl) end
    end
    local size = redis.call('GET', s)
    if size and count == tonumber(size) + tonumber(redis.call('GET', t) or 0) then
      if claim == word or redis.call('SET', c, word, 'NX', 'EX', hold) then
        redis.call('EXPIRE', c, hold)
        local answer = { redis.call('GET', g) }
        local members
        if listed then members = redis.call('LRANGE', j, 0, -1) else members = redis.call('ZRANGE', j, 0, -1) end
        for n = 1, #members do answer[1 + n] = members[n] end
        answers[i] = answer
      end
    end
  end
end
return answers
