-- store_results, version 4
-- Stores results and intermediate states, and publishes them. A stored SUCCESS is never
-- overwritten. If the server refuses to publish, they are only stored: clients that wait for a
-- result also read it from time to time. It uses the function of succeeded.lua.
--
-- KEYS  the results' keys, 1..1000; a key is also the name of its channel
-- ARGV  1 seconds a result lives (0: without limit), then a document for each key; an empty one is not
--       stored, because the caller has found a SUCCESS in a form that the script cannot read
-- returns { positions of the documents that were not stored because a SUCCESS was there,
--           if the server refused to publish, the error }
local ttl, kept, unheard = ARGV[1], {}, nil

for i = 1, #KEYS do
  local key, document = KEYS[i], ARGV[1 + i]
  -- Reads like GET but counts as a write. Once a script has written, Redis lets it go on even when
  -- memory is full.
  local stored = redis.pcall('GETEX', key)
  if document == '' or succeeded(stored) then
    kept[#kept + 1] = i
  else
    if ttl == '0' then redis.call('SET', key, document) else redis.call('SET', key, document, 'EX', ttl) end
    local told = redis.pcall('PUBLISH', key, document)
    if type(told) == 'table' then unheard = told.err end
  end
end
return { kept, unheard }
