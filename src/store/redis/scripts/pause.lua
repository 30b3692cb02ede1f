-- Keeps the last word on an order type's pause (OperatorStore::put_pause). A repeat finds its own
-- word, which is not later than itself.
--
-- KEYS[1] <prefix>paused   ARGV[1] type   ARGV[2] its time, milliseconds   ARGV[3] the word
-- Returns  the word that stands

local old = redis.call('HGET', KEYS[1], ARGV[1])
if old and tonumber(string.match(old, '^%d+') or 0) >= tonumber(ARGV[2]) then
  return old
end
-- A removal first: a full Redis must not keep anybody from pausing a type.
redis.call('HDEL', KEYS[1], ARGV[1])
redis.call('HSET', KEYS[1], ARGV[1], ARGV[3])
return ARGV[3]
