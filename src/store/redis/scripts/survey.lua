-- Reads what gauges and the floor are computed from, at one moment (Store::survey). Writes nothing.
--
-- Returns  {meta's fields and values, slots' fields and values, {member, score} of the oldest
--          exhaustion}

check_layout(call('HGET', META, 'layout'))
return {
  call('HGETALL', META), call('HGETALL', H), call('ZRANGE', X, 0, 0, 'WITHSCORES')
}
