-- Removes whole hours of marks, oldest first, at most BATCH hashes (Body::DropMarks).
--
-- ARGV[10] first hour to keep   ARGV[11] names of all mark hashes, 2 characters each
-- Returns  1 when hashes remain, else 0

local before, names = tonumber(ARGV[10]), ARGV[11]
local hashes = #names / 2
local packed, left, doomed = view[6] or '', BATCH, {}
while #packed > 0 and left > 0 do
  local hour, from = unpack_at('>I4H', packed)
  if hour >= before then break end
  local to = math.min(hashes, from + left)
  left = left - (to - from)
  for hash = from, to - 1 do
    local key = M .. hour .. '.' .. sub(names, 2 * hash + 1, 2 * hash + 2)
    check('HLEN', key)
    doomed[#doomed + 1] = key
  end
  packed = sub(packed, 7)
  if to < hashes then packed = pack('>I4H', hour, to) .. packed end
end
begin_drain()
if #doomed > 0 then call('UNLINK', unpack(doomed)) end
set('hours', packed)
finish()
return #packed > 0 and unpack_at('>I4', packed) < before and 1 or 0
