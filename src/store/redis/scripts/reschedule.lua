-- Puts claimed orders into the bucket of their next due second (Body::Reschedule).
--
-- ARGV[10] entries, each: claim (4 bytes), record hash (2 chars), due second u32, the same rounded up
--          u32, lease second u32, due when rounded u48, then of the record: flags u8, due u48,
--          event offset u48 and 9 bytes that only the worker reads; length u8, field
-- Returns  {'1' or '0' of each entry: whether it still had the claim,
--          claimed at once: (entry u16, record) ..., the queries of those that have one}

local blob, at, entry = ARGV[10], 1, 0
local applied, claimed, claimed_queries = {}, {}, {}
while at <= #blob do
  local claim, hash, second, coarse, lease_second, coarse_due, flags, due, rest, field
  claim, hash, second, coarse, lease_second, coarse_due, flags, due, rest, field, at =
    unpack_at('>c4c2I4I4I4c6Bc6c15Bc0', blob, at)
  local old = record(hash, field)
  entry = entry + 1
  if not old or sub(old, 1, 4) ~= claim then
    applied[entry] = '0'
  else
    applied[entry] = '1'
    local packed_claim = next_claim(old)
    flags = flags + band(byte(old, 9), EXHAUSTED + HAS_QUERY)
    local bucket_second, is_coarse, at_once =
      place(hash, field, packed_claim, second, coarse, lease_second)
    if at_once then flags = flags + LEASED end
    if is_coarse then due = coarse_due end
    -- Bytes 16 to 21: first_seen.
    local new = packed_claim .. pack('>I4B', bucket_second, flags) .. due .. sub(old, 16, 21) .. rest
    put_record(field, new)
    if at_once then
      claimed[#claimed + 1] = pack('>H', entry - 1) .. new
      if band(flags, HAS_QUERY) ~= 0 then
        claimed_queries[#claimed_queries + 1] = query(hash, field, flags)
      end
    end
  end
end
begin_drain()
finish()
return { table.concat(applied), table.concat(claimed), unpack(claimed_queries) }
