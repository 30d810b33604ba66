-- chords, version 4
-- Stores the sizes of chords that begin and deletes the keys of chords whose body was published. It
-- is for clients, and for workers whose result backend is on another server than the broker.
--
-- KEYS  for each chord that begins: its .s, its .c, and the group's own key
--       then for each chord that ends: its .c, .j, .t, .s, .d
-- ARGV  1 seconds a size lives (0: without limit)  2 seconds the end of a chord is remembered
--       3 seconds the saved result of a group lives (0: without limit)
--       4 the number of chords that begin
--       then for each chord that begins: its size, and the saved result of its group (empty: none)
--       then for each chord that ends: the word of the claim on its body
-- returns how many chords ended. A chord whose claim has another word or is not a string is skipped
local begin, ended = tonumber(ARGV[4]), 0
local function set(key, value, seconds)
  if seconds == '0' then redis.call('SET', key, value) else redis.call('SET', key, value, 'EX', seconds) end
end
for i = 1, begin do
  local s, c, group = KEYS[3 * i - 2], KEYS[3 * i - 1], KEYS[3 * i]
  local size, saved = ARGV[3 + 2 * i], ARGV[4 + 2 * i]
  redis.call('DEL', c)
  if saved ~= '' then set(group, saved, ARGV[3]) end
  set(s, size, ARGV[1])
end
for i = 1, (#KEYS - 3 * begin) / 5 do
  local k = 3 * begin + 5 * i - 5
  if redis.pcall('GETEX', KEYS[k + 1]) == ARGV[4 + 2 * begin + i] then
    redis.call('DEL', KEYS[k + 2], KEYS[k + 3], KEYS[k + 4], KEYS[k + 5])
    redis.call('SET', KEYS[k + 1], 'done', 'EX', ARGV[2])
    ended = ended + 1
  end
end
return ended
