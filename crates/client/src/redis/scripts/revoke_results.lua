-- revoke_results, version 1
-- Stores the state REVOKED of tasks that no worker has begun, and publishes it. A task without a
-- stored state counts as one of them. A document that is not plain JSON is left alone.
--
-- KEYS  the results' keys, 1..1000; a key is also the name of its channel
-- ARGV  1 seconds a result lives (0: without limit), then a document for each key
-- returns the number of documents that were stored
local open = { PENDING = true, RECEIVED = true, RETRY = true, REJECTED = true }
local ttl, count = ARGV[1], 0
for i = 1, #KEYS do
  local key, document = KEYS[i], ARGV[1 + i]
  -- Reads like GET but counts as a write. Once a script has written, Redis lets it go on even when
  -- memory is full.
  local stored = redis.pcall('GETEX', key)
  local state = type(stored) == 'string' and stored:match('^{%s*"status"%s*:%s*"(%u+)"')
  if stored == false or open[state] then
    if ttl == '0' then redis.call('SET', key, document) else redis.call('SET', key, document, 'EX', ttl) end
    redis.pcall('PUBLISH', key, document)
    count = count + 1
  end
end
return count
