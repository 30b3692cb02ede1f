-- Takes the shard for a new owner (Store::acquire). A repeat takes it again: each try has a new token.
--
-- ARGV[2] token   ARGV[3] shards   ARGV[4] mark key for a view that is made now
-- ARGV[5] E and ARGV[6] R of the floor, '' without one
-- ARGV[7] names of all record hashes, 2 characters each
-- Returns  {Redis TIME, meta's fields and values}, or nil: there is no view and no floor

local view = call('HMGET', META, 'layout', 'shards', 'epoch', 'rebuild')
if check_layout(view[1]) then
  if view[2] ~= ARGV[3] then
    corrupt('the view was made for ' .. view[2] .. ' shards, not ' .. ARGV[3])
  end
  local news = { 'token', ARGV[2], 'epoch', string.format('%.0f', view[3] + 1) }
  if view[4] then
    news[5], news[6] = 'r', view[4]
  end
  -- A removal that removes nothing: a full Redis lets a script that begins so go on, and without an
  -- owner it would stay full.
  call('HDEL', META, '')
  call('HSET', META, unpack(news))
elseif ARGV[5] == '' then
  return false
else
  call('HSET', META, 'layout', ARGV[1], 'shards', ARGV[3], 'epoch', '1', 'token', ARGV[2],
    'version', '0', 'e', ARGV[5], 'r', ARGV[6], 'rebuild', ARGV[6], 'clock', '0',
    'mark_key', ARGV[4], 'pending', '0')
  -- What a lost meta hash left behind belongs to no view; marks and stale bucket entries say nothing
  -- under a new secret and without their records.
  for at = 1, #ARGV[7], 2 do
    local hash = sub(ARGV[7], at, at + 1)
    call('UNLINK', O .. hash, Q .. hash)
  end
  call('UNLINK', X, H)
end
return { call('TIME'), call('HGETALL', META) }
