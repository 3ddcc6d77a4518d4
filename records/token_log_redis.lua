-- One write to the token log: whole or not at all, in one round trip. Called by records/token_log_redis.py.
--
-- KEYS  the state, the events and the tokens of one stream
-- ARGV  operation, seconds since the epoch, milliseconds to keep the stream, bytes it may hold, then the operation's own
--
-- The state is a hash: last (event id), bytes, ended, touched, try (the highest), and by try and candidate the newest
-- attempt and the number of tokens; "key:" and a key gives the event that was published under it. The events are a
-- stream with the ids 1-0, 2-0, 3-0 …; the tokens a string of MessagePack records, appended to.
--
-- Answers {"ok", …} or {refusal, number}. Whatever can be refused is refused before the first write.

local state, events, tokens = KEYS[1], KEYS[2], KEYS[3]
local operation, now, keep, most = ARGV[1], ARGV[2], tonumber(ARGV[3]), tonumber(ARGV[4])

local function number(field)
  return tonumber(redis.call('HGET', state, field) or 0)
end

-- All three go at the same moment. Written anew only when it is due, so that an append costs the disk no more than itself.
local function stay()
  for _, key in ipairs(KEYS) do
    local left = redis.call('PTTL', key)
    if left ~= -2 and left < keep * 0.99 then
      for _, each in ipairs(KEYS) do
        redis.call('PEXPIRE', each, keep)
      end
      return
    end
  end
end

-- Events stand in ARGV from `first` on, kind and data by turns.
local function room(first, more)
  local held = number('bytes') + more
  for i = first, #ARGV, 2 do
    held = held + #ARGV[i + 1]
  end
  return held
end

local function write(first, held)
  local last = number('last')
  for i = first, #ARGV, 2 do
    last = last + 1
    redis.call('XADD', events, string.format('%d-0', last), 'kind', ARGV[i], 'data', ARGV[i + 1], 'at', now)
    if ARGV[i] == 'final' then
      redis.call('HSET', state, 'ended', 1)
    end
  end
  redis.call('HSET', state, 'last', last, 'bytes', held, 'touched', now)
  return last
end

local function over(try)
  if number('ended') == 1 then
    return {'stream_ended'}
  end
  local highest = number('try')
  if highest > try then
    return {'try_over', highest}
  end
end

local does = {}

-- own arguments: whether there is a key, the key, whether the bound holds, kind, data
function does.publish()
  local key = ARGV[5] == '1' and 'key:' .. ARGV[6]
  local found = key and redis.call('HGET', state, key)
  if found then
    return {'ok', tonumber(found)}
  end
  if number('ended') == 1 then
    return {'stream_ended'}
  end
  local held = room(8, 0)
  if ARGV[7] == '1' and held > most then
    return {'full'}
  end
  local last = write(8, held)
  if key then
    redis.call('HSET', state, key, last)
  end
  stay()
  return {'ok', last}
end

-- own arguments: try, candidate, attempt
function does.open()
  local try, attempt = tonumber(ARGV[5]), tonumber(ARGV[7])
  local refusal = over(try)
  if refusal then
    return refusal
  end
  local place = ARGV[5] .. ':' .. ARGV[6]
  local newest = number('attempt:' .. place)
  if newest > attempt then
    return {'replaced', newest}
  end
  redis.call('HSET', state, 'attempt:' .. place, attempt, 'try', try, 'touched', now)
  stay()
  return {'ok', number('last'), redis.call('GET', tokens) or ''}
end

-- own arguments: try, candidate, attempt, expected offset, number of tokens, their bytes, record, then the events
function does.append()
  local try, attempt, offset = tonumber(ARGV[5]), tonumber(ARGV[7]), tonumber(ARGV[8])
  local refusal = over(try)
  if refusal then
    return refusal
  end
  local place = ARGV[5] .. ':' .. ARGV[6]
  local newest, there = number('attempt:' .. place), number('tokens:' .. place)
  if newest ~= attempt then
    return {'wrong_attempt', newest}
  end
  if there ~= offset then
    return {'wrong_offset', there}
  end
  local held = room(12, tonumber(ARGV[10]))
  if held > most then
    return {'full'}
  end
  local last = write(12, held)
  redis.call('APPEND', tokens, ARGV[11])
  redis.call('HSET', state, 'tokens:' .. place, there + tonumber(ARGV[9]))
  stay()
  return {'ok', last}
end

-- own argument: seconds since the epoch before which a stream is old
function does.trim()
  local touched = redis.call('HGET', state, 'touched')
  if not touched or tonumber(touched) >= tonumber(ARGV[5]) then
    return {'ok', 0}
  end
  redis.call('UNLINK', state, events, tokens)
  return {'ok', 1}
end

return does[operation]()
