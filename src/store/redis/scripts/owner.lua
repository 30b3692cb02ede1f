-- The part that the owner's scripts share, after common.lua.
--
-- ARGV[2] token       ARGV[3] version      ARGV[4] version + 1   ARGV[5] clock
-- ARGV[6] new E       ARGV[7] '1': the rebuild mark goes
-- ARGV[8] ids of the types that the body names, a byte each
-- ARGV[9] new types:  (id u8, cursor u32, length u8, name) ...
--
-- Answers nil, and changes nothing, unless token and version are the view's. That also makes every
-- repeat harmless: the first run has moved the version.

local view = call('HMGET', META, 'layout', 'token', 'version', 'e', 'r', 'hours', 'pending')
if not check_layout(view[1]) or view[2] ~= ARGV[2] or view[3] ~= ARGV[3] then
  return false
end

-- What finish() writes into meta: field, value, field, value ...
local news = { 'version', ARGV[4], 'clock', ARGV[5], 'e', ARGV[6] }
local function set(field, value)
  news[#news + 1] = field
  news[#news + 1] = value
end

-- Cursor and number of exhausted orders of each type that the body names.
local cursors, exhausted, exhausted_change = {}, {}, {}
if #ARGV[9] > 0 then
  local given, at = ARGV[9], 1
  local ids, names = {}, {}
  while at <= #given do
    local id, cursor, name
    id, cursor, name, at = unpack_at('>BI4Bc0', given, at)
    local old = call('HMGET', META, 't' .. id, 'n' .. name)
    local old_name, old_id = ids[id] or old[1], names[name] or old[2]
    if not old_name and not old_id then
      ids[id], names[name] = name, tostring(id)
      cursors[id], exhausted[id] = cursor, 0
      set('t' .. id, name)
      set('n' .. name, id)
      set('c' .. id, cursor)
    elseif old_name ~= name or old_id ~= tostring(id) then
      corrupt('type id ' .. id .. ' or type ' .. name .. ' is taken')
    end
  end
end
for i = 1, #ARGV[8] do
  local id = byte(ARGV[8], i)
  if not cursors[id] then
    local old = call('HMGET', META, 'c' .. id, 'x' .. id)
    if not old[1] then corrupt('type id ' .. id .. ' is unknown') end
    cursors[id], exhausted[id] = tonumber(old[1]), tonumber(old[2] or 0)
  end
end

-- Lengths of keys that are only written: reading one finds a key of the wrong type in time.
local checked = {}
local function check(command, key)
  if not checked[key] then
    call(command, key)
    checked[key] = true
  end
end

-- Records: read once, written at the end. field = type id + number; hash = the two characters that
-- name its o.. and q..; a Lua number in a key's name costs more than a look into a hash.
local records, key_of, changed = {}, {}, {}
local function record(hash, field)
  local found = records[field]
  if found == nil then
    local key = O .. hash
    found = checked_record(call('HGET', key, field))
    records[field], key_of[field] = found, key
  end
  return found
end
local is_changed = {}
local function put_record(field, new)
  if not is_changed[field] then
    is_changed[field] = true
    changed[#changed + 1] = field
  end
  records[field] = new
end

-- Queries: false = to be removed.
local queries, query_key = {}, {}
local function put_query(hash, field, query)
  local key = Q .. hash
  check('HLEN', key)
  queries[field], query_key[field] = query, key
end
-- The stored query of a record, '' without one.
local function query(hash, field, flags)
  if band(flags, HAS_QUERY) == 0 then return '' end
  return queries[field] or call('HGET', Q .. hash, field) or ''
end

-- Buckets, by type * 2^32 + second: key, length, and the entries to put before (leased ones, at the
-- head) and behind all others.
local buckets = {}
local function bucket(type_id, second)
  local at = type_id * 4294967296 + second
  local found = buckets[at]
  if not found then
    local key = D .. type_id .. '.' .. second
    found = { key = key, length = call('LLEN', key) }
    buckets[at] = found
  end
  return found
end
-- An entry: record hash (2 characters), claim u32, number.
local function put(side, into, hash, field, packed_claim)
  local entry = hash .. packed_claim .. sub(field, 2)
  local entries = into[side]
  into.length = into.length + 1
  if entries then
    entries[#entries + 1] = entry
  else
    into[side] = { entry }
  end
end

-- Finds the bucket for a due time (see Placement); second and coarse are the due second, plain and
-- rounded up. Returns the bucket's second, whether it is the coarse one, and whether the order is
-- claimed.
local COARSE_MAX = 64
local function place(hash, field, packed_claim, second, coarse, lease_second)
  local type_id = byte(field)
  local is_coarse = coarse ~= second and bucket(type_id, coarse).length < COARSE_MAX
  if is_coarse then second = coarse end
  local cursor = cursors[type_id]
  if second <= cursor then
    second = cursor + 1
    if lease_second > 0 then
      second = math.max(lease_second, second)
      put('head', bucket(type_id, second), hash, field, packed_claim)
      return second, is_coarse, true
    end
  end
  put('tail', bucket(type_id, second), hash, field, packed_claim)
  return second, is_coarse, false
end

-- Slots of first sight by type * 2^32 + slot: name '<type id>.<slot>', count, E, first_seen; stored
-- as u32, u48, u48.
local slots = {}
local function slot(type_id, first_seen)
  local number = math.floor(first_seen / 60000)
  local at = type_id * 4294967296 + number
  local found = slots[at]
  if not found then
    local name = type_id .. '.' .. number
    local packed = call('HGET', H, name)
    found = { name = name, count = 0, before = 0 }
    if packed then
      found.count, found.e, found.first_seen = unpack_at('>I4I6I6', packed)
      found.before = found.count
    end
    slots[at] = found
  end
  return found
end
local function enter_slot(type_id, first_seen, event_offset)
  local found = slot(type_id, first_seen)
  if found.count == 0 then
    found.e, found.first_seen = tonumber(view[4]), first_seen
  end
  found.count = found.count + 1
  if event_offset < found.e then found.e = event_offset end
  if first_seen < found.first_seen then found.first_seen = first_seen end
end
local function leave_slot(type_id, first_seen)
  local found = slot(type_id, first_seen)
  found.count = math.max(found.count - 1, 0)
end

-- Exhausted orders: score, or false = to be removed, by field.
local scores = {}
local function enter_exhausted(field, known, offset)
  check('ZCARD', X)
  scores[field] = offset
  if not known then
    local id = byte(field)
    exhausted[id] = exhausted[id] + 1
    exhausted_change[id] = true
  end
end
local function leave_exhausted(field)
  check('ZCARD', X)
  scores[field] = false
  local id = byte(field)
  exhausted[id] = math.max(exhausted[id] - 1, 0)
  exhausted_change[id] = true
end

-- Redis lets a script that began with a removal go on when it is full; one that begins with a write
-- that grows is refused before any effect. So drains (all but a fold that adds) begin with this.
local function begin_drain()
  call('HDEL', META, '')
end

-- Writes all that was collected. Nothing here can fail but for the first write.
local function finish()
  for i = 1, #changed do
    local field = changed[i]
    local new = records[field]
    if new then
      call('HSET', key_of[field], field, new)
    else
      call('HDEL', key_of[field], field)
    end
  end
  for field, query in pairs(queries) do
    if query then
      call('HSET', query_key[field], field, query)
    else
      call('HDEL', query_key[field], field)
    end
  end
  for _, into in pairs(buckets) do
    if into.head then call('LPUSH', into.key, unpack(into.head)) end
    if into.tail then call('RPUSH', into.key, unpack(into.tail)) end
  end
  local change = 0
  for _, found in pairs(slots) do
    change = change + found.count - found.before
    if found.count > 0 then
      call('HSET', H, found.name, pack('>I4I6I6', found.count, found.e, found.first_seen))
    else
      call('HDEL', H, found.name)
    end
  end
  if change ~= 0 and view[7] then
    set('pending', string.format('%.0f', view[7] + change))
  end
  for field, score in pairs(scores) do
    if score then
      call('ZADD', X, score, field)
    else
      call('ZREM', X, field)
    end
  end
  for id in pairs(exhausted_change) do
    set('x' .. id, exhausted[id])
  end
  if ARGV[7] == '1' then
    call('HDEL', META, 'rebuild')
  end
  call('HSET', META, unpack(news))
end
