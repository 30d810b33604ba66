-- fair_peek, version 1
-- Returns the messages at the head of the first list that has any, in the order in which they would
-- be claimed. It changes nothing.
--
-- KEYS  the lists of a queue, the most urgent first
-- ARGV  1 the most messages  2 about how many bytes they may have; one message may exceed it
-- returns { position of the list, message, .. }, or {} if all lists are empty
local most, bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 1, #KEYS do
  local found = { i }
  for at = 1, most do
    local message = redis.call('LRANGE', KEYS[i], -at, -at)[1]
    if not message then break end
    found[at + 1] = message
    bytes = bytes - #message
    if bytes <= 0 then break end
  end
  if #found > 1 then return found end
end
return {}
