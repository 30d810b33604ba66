-- read_results, version 1
-- Returns stored documents, as far as they fit into one answer. It changes nothing.
--
-- KEYS  the results' keys, 1..1000
-- ARGV  1 about how many bytes the answer may have; one document may exceed it
--       2 the most bytes of one document
-- returns for each key, up to the first one that does not fit: the document; 0 if there is none, or
--         the key is not a string; -1 if it is too large
local left, most, answer = tonumber(ARGV[1]), tonumber(ARGV[2]), {}
for i = 1, #KEYS do
  local stored = redis.pcall('GET', KEYS[i])
  if type(stored) ~= 'string' then
    answer[i] = 0
  elseif #stored > most then
    answer[i] = -1
  else
    if i > 1 and #stored > left then break end
    left = left - #stored
    answer[i] = stored
  end
end
return answer
