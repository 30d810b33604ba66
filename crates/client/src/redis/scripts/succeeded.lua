-- succeeded, version 1: a function that stands before the scripts that store results.

-- Returns true if a stored document is a SUCCESS, as Celery and this project write it in JSON,
-- MessagePack or YAML. In a compressed document it cannot be seen.
local function succeeded(stored)
  if type(stored) ~= 'string' then return false end
  if stored:find('^{%s*"status"%s*:%s*"SUCCESS"') then return true end
  if stored:byte(1) == 123 then return false end
  return stored:find('^%-%-%- {"status":%s*"SUCCESS"') ~= nil
    or stored:sub(2, 20):find('\166status\167SUCCESS', 1, true) ~= nil
    or stored:find('^%a') and ('\n' .. stored):find('\nstatus: SUCCESS\n', 1, true) ~= nil
end

