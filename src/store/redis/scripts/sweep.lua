-- Puts records that lost their bucket entry back into a bucket (Body::Sweep). At most BATCH a run;
-- a hash that lost more is seen again with the next round.
--
-- ARGV[10] record hash (2 chars)   ARGV[11] slack, seconds; ARGV[8] are the types to sweep
-- Returns  how many

local hash, slack = ARGV[10], tonumber(ARGV[11])
local key = O .. hash
local all = call('HGETALL', key)
local lost = {}
for i = 1, #all, 2 do
  local field, old = all[i], checked_record(all[i + 1])
  local bucket = unpack_at('>I4', old, 5)
  local cursor = cursors[byte(field)]
  if cursor and bucket > 0 and bucket + slack < cursor then
    lost[#lost + 1] = field
    records[field], key_of[field] = old, key
  end
end
-- By bytes; `<` of Lua would compare by the server's locale.
table.sort(lost, function(a, b)
  for i = 1, math.min(#a, #b) do
    if byte(a, i) ~= byte(b, i) then return byte(a, i) < byte(b, i) end
  end
  return #a < #b
end)
local repaired = math.min(#lost, BATCH)
for i = 1, repaired do
  local field = lost[i]
  local old = records[field]
  local type_id = byte(field)
  local second, packed_claim, flags = cursors[type_id] + 1, next_claim(old), byte(old, 9)
  if band(flags, LEASED) ~= 0 then flags = flags - LEASED end
  put_record(field, packed_claim .. pack('>I4B', second, flags) .. sub(old, 10))
  put('tail', bucket(type_id, second), hash, field, packed_claim)
end
begin_drain()
finish()
return repaired
