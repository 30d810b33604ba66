-- store_results, version 1
-- Stores results and intermediate states, and publishes them. A stored SUCCESS is never overwritten.
--
-- KEYS  the results' keys, 1..1000; a key is also the name of its channel
-- ARGV  1 seconds a result lives (0: for ever), then a document for each key
-- returns the positions of the documents that were not stored because a SUCCESS was there
local ttl, kept = ARGV[1], {}
for i = 1, #KEYS do
  local key, document = KEYS[i], ARGV[1 + i]
  -- Reads like GET and counts as a write: a script that has written may go on writing when memory is full.
  local stored = redis.pcall('GETEX', key)
  if type(stored) == 'string' and stored:find('^{%s*"status"%s*:%s*"SUCCESS"') then
    kept[#kept + 1] = i
  else
    if ttl == '0' then redis.call('SET', key, document) else redis.call('SET', key, document, 'EX', ttl) end
    redis.call('PUBLISH', key, document)
  end
end
return kept
