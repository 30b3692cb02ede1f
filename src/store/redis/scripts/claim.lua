-- Takes the orders of a type that are due, oldest second first (Body::Claim).
--
-- ARGV[10] type id   ARGV[11] last second   ARGV[12] limit   ARGV[13] second in which leases end
-- ARGV[14] second to begin behind; beyond the cursor, which then stays, it leaves out a backlog
-- Returns  {cursor, stale entries dropped, claimed: (length u8, field, record) ...,
--          the queries of those that have one}

local type_id, to, left = tonumber(ARGV[10]), tonumber(ARGV[11]), tonumber(ARGV[12])
local lease_second = tonumber(ARGV[13])
local type_char, packed_lease = char(type_id), pack('>I4', lease_second)
local cursor, after, stale, lease_bucket = cursors[type_id], tonumber(ARGV[14]), 0, nil
local at = math.max(cursor, after)
local popped, claimed, claimed_queries = {}, {}, {}
local last = math.min(to, at + BATCH)
-- Stale entries, as an answered order's lease leaves one, take no part of the limit.
local pops = BATCH
while at < last and left > 0 and pops > 0 do
  local second = at + 1
  local key = D .. type_id .. '.' .. second
  local entries, taken = call('LRANGE', key, 0, pops - 1), 0
  local packed_second = pack('>I4', second)
  for i = 1, #entries do
    if left == 0 then break end
    taken = i
    local entry = checked_entry(entries[i])
    local hash, field = sub(entry, 1, 2), type_char .. sub(entry, 7)
    local old = record(hash, field)
    if old and sub(old, 1, 8) == sub(entry, 3, 6) .. packed_second then
      local flags, packed_claim = byte(old, 9), next_claim(old)
      if flags % 2 == 0 then flags = flags + LEASED end
      local new = packed_claim .. packed_lease .. char(flags) .. sub(old, 10)
      lease_bucket = lease_bucket or bucket(type_id, lease_second)
      put('head', lease_bucket, hash, field, packed_claim)
      put_record(field, new)
      left = left - 1
      claimed[#claimed + 1] = char(#field) .. field .. new
      if band(flags, HAS_QUERY) ~= 0 then
        claimed_queries[#claimed_queries + 1] = query(hash, field, flags)
      end
    else
      stale = stale + 1
    end
  end
  if taken > 0 then
    popped[#popped + 1] = key
    popped[#popped + 1] = taken
    pops = pops - taken
  end
  if taken < #entries or (pops == 0 and call('LLEN', key) > taken) then break end
  at = second
end
begin_drain()
for i = 1, #popped, 2 do
  call('LTRIM', popped[i], popped[i + 1], -1)
end
if after <= cursor then
  cursor = at
  set('c' .. type_id, cursor)
end
finish()
return { cursor, stale, table.concat(claimed), unpack(claimed_queries) }
