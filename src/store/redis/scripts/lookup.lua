-- Tells what the view knows of each order (Body::Lookup). Writes nothing, leaves the version.
--
-- ARGV[10] entries, each: record hash (2 chars), mark hash (2 chars), mark (12 bytes), length u8, field
--          (empty: the view knows no such type)
-- Returns  a string an entry: '' unknown, 's' + mark's value, 'o' + record + query

local hours = mark_hours(view[6] or '')
local blob, at = ARGV[10], 1
local found = {}
while at <= #blob do
  local hash, mark_hash, mark, field
  hash, mark_hash, mark, field, at = unpack_at('>c2c2c12Bc0', blob, at)
  local open = field ~= '' and record(hash, field)
  if open then
    found[#found + 1] = 'o' .. open .. query(hash, field, byte(open, 9))
  else
    local mark_value = find_mark(hours, mark_hash, mark)
    found[#found + 1] = mark_value and 's' .. mark_value or ''
  end
end
return found
