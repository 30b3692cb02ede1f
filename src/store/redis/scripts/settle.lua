-- Folds a run of results (Body::Settle).
--
-- ARGV[10] R before   ARGV[11] R after
-- ARGV[12] entries, each: kind u8 (1: exhausted, 2: with a query, 4: still asked, 8: leaves a mark),
--          status ('1' or '2') and result offset u48 (7 bytes: the mark's value), mark hour u32,
--          record hash (2 chars), mark hash (2 chars), mark (12 bytes), length u8, field (empty: only
--          the mark); when exhausted also due second u32, the same rounded up u32, due when rounded
--          u48, phase u16, flags u8, due u48, first_seen u48, event offset u48, 9 bytes
-- ARGV[13] and on: the queries of the entries that have one
-- Returns  1, or nil when R differs

if view[5] ~= ARGV[10] then return false end
local hours = mark_hours(view[6] or '')
local blob, at, next_query = ARGV[12], 1, 13
local marks, settled_now, marked_hours = {}, {}, {}
local hour_keys = {}
local function hour_key(hour)
  local key = hour_keys[hour] or M .. hour .. '.'
  hour_keys[hour] = key
  return key
end

local function remove(hash, field)
  local old = record(hash, field)
  if not old then return end
  local flags, first_seen = unpack_at('>BxxxxxxI6', old, 9)
  if band(flags, HAS_QUERY) ~= 0 then put_query(hash, field, false) end
  if band(flags, EXHAUSTED) ~= 0 then
    leave_exhausted(field)
  else
    leave_slot(byte(field), first_seen)
  end
  put_record(field, false)
end

local function exhaust(hash, field, offset, kind, mark_hash, mark, new_query)
  local second, coarse, coarse_due, phase, flags, due, rest
  second, coarse, coarse_due, phase, flags, due, rest, at =
    unpack_at('>I4I4c6HBc6c21', blob, at)
  local old = record(hash, field)
  local packed_claim, old_flags, old_first_seen, old_phase = FIRST_CLAIM, 0, nil, nil
  if old then
    packed_claim = next_claim(old)
    old_flags, old_first_seen, old_phase = unpack_at('>BxxxxxxI6xxxxxxH', old, 9)
    local was_exhausted = band(old_flags, EXHAUSTED) ~= 0
    if old_phase > phase or (was_exhausted and old_phase == phase) then return end
  elseif settled_now[mark] or find_mark(hours, mark_hash, mark) then
    return
  end
  flags = flags + EXHAUSTED
  if new_query then
    put_query(hash, field, new_query)
    flags = flags + HAS_QUERY
  else
    flags = flags + band(old_flags, HAS_QUERY)
  end
  local known = band(old_flags, EXHAUSTED) ~= 0
  if old and not known then leave_slot(byte(field), old_first_seen) end
  enter_exhausted(field, known, offset)
  local bucket_second, is_coarse = 0, false
  if band(kind, 4) ~= 0 then
    bucket_second, is_coarse = place(hash, field, packed_claim, second, coarse, 0)
  end
  if is_coarse then due = coarse_due end
  put_record(field, packed_claim .. pack('>I4B', bucket_second, flags) .. due .. rest)
end

while at <= #blob do
  local kind, value, hour, hash, mark_hash, mark, field
  kind, value, hour, hash, mark_hash, mark, field, at =
    unpack_at('>Bc7I4c2c2c12Bc0', blob, at)
  local new_query
  if band(kind, 2) ~= 0 then
    new_query = ARGV[next_query]
    next_query = next_query + 1
  end
  if band(kind, 1) ~= 0 then
    exhaust(hash, field, unpack_at('>I6', value, 2), kind, mark_hash, mark, new_query)
  else
    if field ~= '' then remove(hash, field) end
    if kind >= 8 then
      local key = hour_key(hour) .. mark_hash
      check('HLEN', key)
      marks[#marks + 1] = key
      marks[#marks + 1] = mark
      marks[#marks + 1] = value
      settled_now[mark] = true
      marked_hours[hour] = true
    end
  end
end

-- The hours that have marks, ascending: hour u32, first hash that was not dropped yet u16. An hour
-- that gets a mark while it is being dropped is dropped from its first hash again.
if next(marked_hours) then
  local known = {}
  for packed_at = 1, #(view[6] or ''), 6 do
    local hour, dropped = unpack_at('>I4H', view[6], packed_at)
    known[#known + 1] = { hour, marked_hours[hour] and 0 or dropped }
    marked_hours[hour] = nil
  end
  for hour in pairs(marked_hours) do
    known[#known + 1] = { hour, 0 }
  end
  table.sort(known, function(a, b) return a[1] < b[1] end)
  for i = 1, #known do
    known[i] = pack('>I4H', known[i][1], known[i][2])
  end
  set('hours', table.concat(known))
end
set('r', ARGV[11])
begin_drain()
finish()
for i = 1, #marks, 3 do
  call('HSET', marks[i], marks[i + 1], marks[i + 2])
end
return 1
