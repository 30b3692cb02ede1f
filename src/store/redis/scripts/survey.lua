-- Reads what gauges and the floor are computed from, at one moment (Store::survey). Writes nothing.
--
-- ARGV[2] names of all record hashes, 2 characters each
-- Returns  {meta's fields and values, slots' fields and values, {member, score} of the oldest
--          exhaustion, number of exhausted orders, number of records}

check_layout(call('HGET', META, 'layout'))
local records = 0
for at = 1, #ARGV[2], 2 do
  records = records + call('HLEN', O .. sub(ARGV[2], at, at + 1))
end
return {
  call('HGETALL', META), call('HGETALL', H), call('ZRANGE', X, 0, 0, 'WITHSCORES'),
  call('ZCARD', X), records
}
