-- Tells what the view knows of one order (Store::find). Writes nothing.
--
-- ARGV[2] mark key with which the mark was made   ARGV[3] record hash
-- ARGV[4] field, '' when the view knows no such type   ARGV[5] mark hash   ARGV[6] mark
-- Returns  '' unknown, 's' + mark's value, 'o' + record + query; nil when the view has another
--          mark key (it was made anew meanwhile)

local view = call('HMGET', META, 'layout', 'mark_key', 'hours')
check_layout(view[1])
if view[2] ~= ARGV[2] then return false end
local field = ARGV[4]
local open = field ~= '' and checked_record(call('HGET', O .. ARGV[3], field))
if open then
  local query = band(byte(open, 9), HAS_QUERY) ~= 0 and call('HGET', Q .. ARGV[3], field)
  return 'o' .. open .. (query or '')
end
local mark = find_mark(mark_hours(view[3] or ''), ARGV[5], ARGV[6])
return mark and 's' .. mark or ''
