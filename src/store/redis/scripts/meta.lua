-- Reads the meta data (Store::meta). Writes nothing.
--
-- Returns  {Redis TIME, meta's fields and values}, or nil without a view

if not check_layout(call('HGET', META, 'layout')) then return false end
return { call('TIME'), call('HGETALL', META) }
