-- Reserves start times of a type's ceiling and carries its breaker, on Redis' own time
-- (Store::reserve). A repeat reserves others and may count a report twice: the first ones are
-- forfeited, so that the ceiling holds, and a row of failures ends a few questions earlier.
--
-- KEYS[1] <prefix>t<type>: «born at free own own own mode since row hold», microseconds but for
--         mode (0 closed, 1 open, 2 closing) and row; own: by share, callers, first, rest
-- ARGV[1] microseconds between two   ARGV[2-4] how many at most, by share
-- ARGV[5-7] microseconds between two of a share's own part, 0: it has none
-- ARGV[8] 1: something was answered  ARGV[9] failures in a row since then
-- ARGV[10-13] what the worker knows: born, at, mode, microseconds since it closes; born 0: nothing
-- ARGV[14] microseconds for which the owner asked to be left alone   ARGV[15] how many at most in all
-- Returns {microseconds from now to the first, how many by share, microseconds between two,
--          mode, microseconds in that mode, born, now, microseconds to leave the owner alone}

local AHEAD, LENT, BURST = 1000000, 200000, 250000
local ROW_MAX, PROBE, STEP, FIRST_STEP, LIFETIME = 20, 1000000, 10000000, 8, 3600000000
local HOLD_MAX = 60000000
local CLOSED, OPEN, CLOSING = 0, 1, 2
local floor, max, min = math.floor, math.max, math.min

local arg = {}
for i = 1, #ARGV do arg[i] = tonumber(ARGV[i]) end
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]

local kept = {}
for number in string.gmatch(redis.call('GET', KEYS[1]) or '', '%d+') do
  kept[#kept + 1] = tonumber(number)
end
if #kept ~= 10 or now >= max(kept[2], kept[3]) + LIFETIME then
  kept = { now, 0, 0, 0, 0, 0, CLOSED, now, 0, 0 }
end
local born, at, free = kept[1], kept[2], kept[3]
local own = { kept[4], kept[5], kept[6] }
local mode, since, row, hold = kept[7], kept[8], kept[9], kept[10]

-- A key that was wiped or rolled back learns from its workers what it has forgotten; what it gave
-- away and does not know lies no further ahead than LENT.
if arg[10] > 0 and (arg[10] ~= born or arg[11] > at) then
  free = max(free, now + LENT)
  if arg[12] == OPEN and mode ~= OPEN then
    mode, since = OPEN, now
  elseif arg[12] == CLOSING and mode == CLOSED then
    mode, since = CLOSING, max(now - arg[13], 0)
  elseif arg[12] == CLOSING and mode == CLOSING then
    since = max(since, now - arg[13])
  end
end

if arg[14] > 0 then hold = max(hold, now + min(arg[14], HOLD_MAX)) end
-- Of a master whose clock was ahead.
if hold > now + HOLD_MAX then hold = 0 end
if arg[8] == 1 then
  if mode == OPEN then
    mode, since = CLOSING, now
    free = min(free, now + LENT)
  end
  row = arg[9]
else
  row = row + arg[9]
end
row = min(row, ROW_MAX)
if row == ROW_MAX and mode ~= OPEN then mode, since = OPEN, now end

local between = arg[1]
if mode == OPEN then
  between = max(between, PROBE)
elseif mode == CLOSING then
  local steps = min(floor(max(now - since, 0) / STEP), 63)
  between = floor(min(arg[1] * FIRST_STEP, max(arg[1], PROBE)) / 2 ^ steps)
  if between <= arg[1] then mode, between = CLOSED, arg[1] end
end

local first = max(free, now)
-- A master whose clock is behind its predecessor's must not stop the questions for that long.
if first > now + AHEAD + between then first = now end
local next_free, counts, left, ahead = first, {}, arg[15], AHEAD
if mode == OPEN then left, ahead = min(left, 1), LENT end
if hold > now then left = 0 end
local function room(within)
  if next_free > now + within then return 0 end
  return floor((now + within - next_free) / between) + 1
end
-- Each share's own part, first of the one that went without for longest, then what is left.
local order = { 1, 2, 3 }
table.sort(order, function(a, b) return own[a] < own[b] or (own[a] == own[b] and a < b) end)
for _, share in ipairs(order) do
  local every, mine = floor(arg[4 + share] * between / arg[1]), 0
  local own_next = min(max(own[share], now - BURST), now + every)
  if every > 0 and own_next <= now then mine = floor((now - own_next) / every) + 1 end
  local given = min(arg[1 + share], mine, room(ahead), left)
  own[share] = own_next + given * every
  next_free, left, counts[share] = next_free + given * between, left - given, given
end
for share = 1, 3 do
  local given = min(arg[1 + share] - counts[share], room(LENT), left)
  next_free, left, counts[share] = next_free + given * between, left - given, counts[share] + given
end

-- A removal first: a full Redis is drained only if questions may start.
redis.call('DEL', KEYS[1])
local text = string.format('%.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f %.0f', born, now, next_free,
  own[1], own[2], own[3], mode, since, row, hold)
local lifetime = math.ceil((max(now, next_free) + LIFETIME - now) / 1000)
redis.call('SET', KEYS[1], text, 'PX', lifetime)
return { max(first, hold) - now, counts[1], counts[2], counts[3], between, mode, max(now - since, 0),
  born, now, max(hold - now, 0) }
