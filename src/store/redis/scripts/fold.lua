-- Applies pending and requeue events in their order (Body::Fold).
--
-- ARGV[10] entries, each: kind u8 (1: requeue, 2: with a query), phase u16, record hash (2 chars),
--          due second u32, the same rounded up u32, lease second u32, mark hash (2 chars), mark (12),
--          due when rounded u48, then of the record: flags u8, due u48 (6 bytes), first_seen u48,
--          event offset u48, 9 bytes that only the worker reads; length u8, field
-- ARGV[11] and on: the queries of the entries that have one
-- Returns  {outcome of each entry (A added, K known, S settled, R requeued),
--          claimed at once: (entry u16, record) ..., the queries of those that have one}
-- It grows first, so a full Redis refuses it before any effect, unless it adds nothing.

local hours = mark_hours(view[6] or '')
local blob, at, entry, next_query = ARGV[10], 1, 0, 11
local outcomes, claimed, claimed_queries = {}, {}, {}
while at <= #blob do
  local kind, phase, hash, second, coarse, lease_second, mark_hash, mark
  local coarse_due, flags, due, first_seen, offset, rest, field
  kind, phase, hash, second, coarse, lease_second, mark_hash, mark,
    coarse_due, flags, due, first_seen, offset, rest, field, at =
    unpack_at('>BHc2I4I4I4c2c12c6Bc6I6I6c9Bc0', blob, at)
  local is_requeue, has_query = kind % 2 == 1, kind >= 2
  local old = record(hash, field)
  local outcome
  if old and not (is_requeue and unpack_at('>H', old, 28) < phase) then
    outcome = 'K'
  elseif not old and find_mark(hours, mark_hash, mark) then
    outcome = 'S'
  else
    outcome = is_requeue and 'R' or 'A'
    local packed_claim, old_flags, old_first_seen = FIRST_CLAIM, 0, nil
    if old then
      packed_claim = next_claim(old)
      old_flags, old_first_seen = unpack_at('>BxxxxxxI6', old, 9)
    end
    if has_query then
      put_query(hash, field, ARGV[next_query])
      flags = flags + HAS_QUERY
    else
      flags = flags + band(old_flags, HAS_QUERY)
    end
    if old and band(old_flags, EXHAUSTED) == 0 then
      first_seen = old_first_seen
    else
      enter_slot(byte(field), first_seen, offset)
    end
    if band(old_flags, EXHAUSTED) ~= 0 then
      leave_exhausted(field)
    end
    local bucket_second, is_coarse, at_once =
      place(hash, field, packed_claim, second, coarse, lease_second)
    if at_once then flags = flags + LEASED end
    if is_coarse then due = coarse_due end
    local new = packed_claim
      .. pack('>I4Bc6I6I6', bucket_second, flags, due, first_seen, offset) .. rest
    put_record(field, new)
    if at_once then
      claimed[#claimed + 1] = pack('>H', entry) .. new
      if band(flags, HAS_QUERY) ~= 0 then
        claimed_queries[#claimed_queries + 1] = query(hash, field, flags)
      end
    end
  end
  if has_query then next_query = next_query + 1 end
  entry = entry + 1
  outcomes[entry] = outcome
end
if #changed == 0 then begin_drain() end
finish()
return { table.concat(outcomes), table.concat(claimed), unpack(claimed_queries) }
