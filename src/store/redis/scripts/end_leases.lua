-- Makes leased orders due at once (Body::EndLeases). The leased ones are the head of a bucket: it
-- stops at the first valid entry that is not leased; stale ones on the way are dropped.
--
-- ARGV[10] type id   ARGV[11] first second   ARGV[12] last second
-- Returns  {orders made due, second to go on from (nil: done)}

local type_id, from, to = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local type_char, due_again = char(type_id), cursors[type_id] + 1
local packed_due_again = pack('>I4', due_again)
local popped, ended, left, go_on = {}, 0, BATCH, nil
local last = math.min(to, from + BATCH - 1)
for second = from, last do
  local key = D .. type_id .. '.' .. second
  local packed_second = pack('>I4', second)
  local entries = call('LRANGE', key, 0, left)
  local dropped = 0
  for i = 1, #entries do
    local entry = checked_entry(entries[i])
    local hash, field = sub(entry, 1, 2), type_char .. sub(entry, 7)
    local old = record(hash, field)
    local valid = old and sub(old, 1, 8) == sub(entry, 3, 6) .. packed_second
    if valid and band(byte(old, 9), LEASED) == 0 then break end
    if left == 0 then
      go_on = second
      break
    end
    left, dropped = left - 1, dropped + 1
    if valid then
      local packed_claim, flags = next_claim(old), char(byte(old, 9) - LEASED)
      put_record(field, packed_claim .. packed_due_again .. flags .. sub(old, 10))
      put('tail', bucket(type_id, due_again), hash, field, packed_claim)
      ended = ended + 1
    end
  end
  if dropped > 0 then
    popped[#popped + 1] = key
    popped[#popped + 1] = dropped
  end
  if go_on then break end
end
if not go_on and last < to then go_on = last + 1 end
begin_drain()
for i = 1, #popped, 2 do
  call('LTRIM', popped[i], popped[i + 1], -1)
end
finish()
return { ended, go_on }
