-- Reserves start times of a type's ceiling, on Redis' own time (Store::reserve). A repeat reserves
-- others; the first ones are forfeited, so that the ceiling holds.
--
-- KEYS[1] <prefix>t<type>   ARGV[1] how many at most   ARGV[2] microseconds between two
-- Returns  {microseconds from now to the first, how many}

local count, spacing = tonumber(ARGV[1]), tonumber(ARGV[2])
local old = tonumber(redis.call('GET', KEYS[1]) or 0)
local time = redis.call('TIME')
local now = time[1] * 1000000 + time[2]
local first = math.max(old or 0, now)
-- A master whose clock is behind its predecessor's must not stop the questions for that long.
if first > now + 1000000 + spacing then first = now end
local room = math.floor((now + 1000000 - first) / spacing) + 1
count = math.max(math.min(count, room), 0)
if count > 0 then
  -- A removal first: a full Redis is drained only if questions may start.
  redis.call('DEL', KEYS[1])
  local free = first + count * spacing
  local lifetime = math.ceil((free - now) / 1000) + 2000
  redis.call('SET', KEYS[1], string.format('%.0f', free), 'PX', lifetime)
end
return { first - now, count }
