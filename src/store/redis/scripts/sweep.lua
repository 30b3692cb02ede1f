-- Puts records that lost their bucket entry back into a bucket (Body::Sweep): hash after hash until
-- BATCH records were seen. At most BATCH are put back; a hash that lost more is seen again with the
-- next round.
--
-- ARGV[10] record hashes to look at, 2 characters each   ARGV[11] slack, seconds
-- ARGV[8] are the types to sweep
-- Returns  {how many were put back, how many hashes were seen}

local names, slack = ARGV[10], tonumber(ARGV[11])

-- By bytes; `<` of Lua would compare by the server's locale.
local function by_bytes(a, b)
  for i = 1, math.min(#a, #b) do
    if byte(a, i) ~= byte(b, i) then return byte(a, i) < byte(b, i) end
  end
  return #a < #b
end

local lost, hash_of, seen, hashes = {}, {}, 0, 0
while seen < BATCH and hashes < #names / 2 do
  local hash = sub(names, 2 * hashes + 1, 2 * hashes + 2)
  local key = O .. hash
  local all, here = call('HGETALL', key), {}
  for i = 1, #all, 2 do
    local field, old = all[i], checked_record(all[i + 1])
    local bucket = unpack_at('>I4', old, 5)
    local cursor = cursors[byte(field)]
    seen = seen + 1
    if cursor and bucket > 0 and bucket + slack < cursor then
      here[#here + 1] = field
      records[field], key_of[field], hash_of[field] = old, key, hash
    end
  end
  table.sort(here, by_bytes)
  for i = 1, #here do lost[#lost + 1] = here[i] end
  hashes = hashes + 1
end
local repaired = math.min(#lost, BATCH)
for i = 1, repaired do
  local field = lost[i]
  local old = records[field]
  local type_id = byte(field)
  local second, packed_claim, flags = cursors[type_id] + 1, next_claim(old), byte(old, 9)
  if band(flags, LEASED) ~= 0 then flags = flags - LEASED end
  put_record(field, packed_claim .. pack('>I4B', second, flags) .. sub(old, 10))
  put('tail', bucket(type_id, second), hash_of[field], field, packed_claim)
end
begin_drain()
finish()
return { repaired, hashes }
