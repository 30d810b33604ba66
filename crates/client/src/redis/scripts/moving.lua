-- moving, version 1: a function that stands before the scripts that read the groups of fair queues.

-- Returns an error if a group could not be read because it may be on another node of a cluster.
local function moving(failed)
  if failed.err:find('non local key', 1, true) then
    return redis.error_reply('TRYAGAIN The slot of the groups is moving')
  end
end

