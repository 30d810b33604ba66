-- fair_peek, version 2
-- Returns the messages at the head of the first list that has any, in the order in which they would
-- be claimed. One worker at a time gets them, for as long as it goes on to ask: if each read the same
-- messages, all but one would have read them in vain.
--
-- KEYS  the lists of a queue, the most urgent first; the last key is the lease of the worker that sorts
--       the queue (string)
-- ARGV  1 the most messages  2 about how many bytes they may have; one message may exceed it
--       3 the worker  4 how long its lease lasts without another call, in milliseconds
-- returns { position of the list, message, .. }, or {} if all lists are empty, or if another worker
--         has the lease
local most, bytes = tonumber(ARGV[1]), tonumber(ARGV[2])
for i = 1, #KEYS - 1 do
  local found = { i }
  for at = 1, most do
    local message = redis.call('LRANGE', KEYS[i], -at, -at)[1]
    if not message then break end
    if at == 1 then
      -- A full server refuses to write the lease. The queue is sorted without it.
      local sorter = redis.pcall('GET', KEYS[#KEYS])
      if type(sorter) == 'string' and sorter ~= ARGV[3] then return {} end
      redis.pcall('SET', KEYS[#KEYS], ARGV[3], 'PX', ARGV[4])
    end
    found[at + 1] = message
    bytes = bytes - #message
    if bytes <= 0 then break end
  end
  if #found > 1 then return found end
end
return {}
