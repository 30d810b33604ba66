-- Deletes a value if it has not changed since it was read.
--
-- KEYS[1]  the key
-- ARGV[1]  SHA-1 of the value, in hexadecimal
--
-- Returns 1 if it was deleted, 0 if the key has another value or none.
local value = redis.call('GET', KEYS[1])
if value and redis.sha1hex(value) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
