-- What every script of a shard's view begins with: key names, the fence, and a cache that reads all
-- first and writes at the end. Lua has no rollback, so a script that meets a key of the wrong type
-- or a full Redis must do so before its first write.
--
-- KEYS[1]  <prefix>s{p}meta; every other key has the same hash tag and is built from it
-- ARGV[1]  layout that the sender knows

local META = KEYS[1]
local BASE = string.sub(META, 1, -5)
local O, Q, D, M = BASE .. 'o', BASE .. 'q', BASE .. 'd', BASE .. 'm'
local X, H = BASE .. 'x', BASE .. 'h'
local call, sub, byte, char = redis.call, string.sub, string.byte, string.char
local pack, unpack_at, band = struct.pack, struct.unpack, bit.band
local LEASED, EXHAUSTED, HAS_QUERY = 1, 2, 4
local BATCH = 100

local function corrupt(what)
  error({ err = 'CORRUPT ' .. what })
end

-- While its slot moves to another node of a cluster, a script may touch what is still here, and fails
-- at the first key that is not, maybe amid its writes. So it fails here: no such key is ever made.
call('EXISTS', BASE .. 'moves')

local function check_layout(layout)
  if layout and layout ~= ARGV[1] then
    corrupt('layout ' .. layout .. ' is not ' .. ARGV[1])
  end
  return layout
end

-- Prefixes of the mark keys of each hour that has any, newest first.
local function mark_hours(packed)
  local hours = {}
  for at = #packed - 5, 1, -6 do
    hours[#hours + 1] = M .. unpack_at('>I4', packed, at) .. '.'
  end
  return hours
end

-- A settled order's mark (status, result offset), or false.
local function find_mark(hours, hash, mark)
  for i = 1, #hours do
    local found = call('HGET', hours[i] .. hash, mark)
    if found then return found end
  end
  return false
end

-- The claim number that follows a record's, packed.
local FIRST_CLAIM = pack('>I4', 1)
local function next_claim(old)
  return pack('>I4', (unpack_at('>I4', old) + 1) % 4294967296)
end

-- A record's 36 bytes, big-endian: claim u32, bucket u32, flags u8, due u48, first_seen u48,
-- event offset u48, phase u16 (bytes 28 and 29), what only the worker reads.
local function checked_record(packed, field)
  if packed and #packed ~= 36 then
    corrupt('a record of ' .. #packed .. ' bytes')
  end
  return packed
end

-- A bucket entry: record hash (2 characters), claim u32, number.
local function checked_entry(entry)
  if #entry < 7 then
    corrupt('a bucket entry of ' .. #entry .. ' bytes')
  end
  return entry
end
