-- beat_list, version 1
-- Reads entries of the schedules with their due times, all at one moment.
--
-- KEYS  1 due times (zset)  2 entries (hash)  3 runs (hash)
-- ARGV  the names of the entries; none for all
-- returns a JSON array as text, so that the caller can limit its size. It has, for each entry that
--         is there: [name, entry, next due time or '', runs or '']
local due, entries, runs = KEYS[1], KEYS[2], KEYS[3]
local names, found = ARGV, {}
if #names == 0 then names = redis.call('HKEYS', entries) end
for i = 1, #names do
  local name = names[i]
  local entry = redis.call('HGET', entries, name)
  if entry then
    found[#found + 1] = cjson.encode({ name, entry,
      redis.call('ZSCORE', due, name) or '', redis.call('HGET', runs, name) or '' })
  end
end
return '[' .. table.concat(found, ',') .. ']'
