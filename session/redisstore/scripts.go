package redisstore

import "github.com/redis/go-redis/v9"

// The scripts keep to Lua that Redis 6.2 to 8 and miniredis run, and touch one key each. Times left to live are handed in as
// milliseconds from now, so that Redis's clock need not agree with ours.
//
// Those that go on with what there is, or end it, also do so in a Redis that is full (maxmemory): it refuses a script's first
// write where that may take memory, and none after another write. So their first one is PEXPIRE, which takes none. They add
// at most the few bytes of a lease or a tombstone, which end by themselves; what begins something new is refused.

// milli reads the 8 bytes of a number behind a position; 2^53 ms is far enough.
const milli = `
local function milli(s, at)
  local n = 0
  for i = at + 1, at + 8 do n = n * 256 + string.byte(s, i) end
  return n
end
`

// replaceScript: KEYS record; ARGV generation that it must be of, the new record, now in ms. It answers 1, 0 for another
// generation, -1 where there is none.
var replaceScript = redis.NewScript(milli + `
local old = redis.call('GET', KEYS[1])
if not old then return -1 end
if string.sub(old, 2, 9) ~= ARGV[1] then return 0 end
local new = ARGV[2]
if milli(old, 9) > milli(new, 9) then
  new = string.sub(new, 1, 9) .. string.sub(old, 10, 17) .. string.sub(new, 18)
end
local left = math.min(milli(new, 9), milli(new, 17)) - tonumber(ARGV[3])
if left < 1 then
  redis.call('DEL', KEYS[1])
  return -1
end
left = string.format('%.0f', left)
redis.call('PEXPIRE', KEYS[1], left)
redis.call('SET', KEYS[1], new, 'PX', left)
return 1
`)

// slideScript: KEYS record; ARGV the new idle in 8 bytes, now in ms. It answers 1, or -1 where there is none.
var slideScript = redis.NewScript(milli + `
local head = redis.call('GETRANGE', KEYS[1], 0, 24)
if #head < 25 then return -1 end
if milli(ARGV[1], 0) > milli(head, 9) then
  local left = math.min(milli(ARGV[1], 0), milli(head, 17)) - tonumber(ARGV[2])
  if left < 1 then return 1 end
  redis.call('PEXPIRE', KEYS[1], string.format('%.0f', left))
  redis.call('SETRANGE', KEYS[1], 9, ARGV[1])
end
return 1
`)

// enterScript: KEYS index; ARGV the record's key, its end and now, both in ms. Entries that are over leave; the index lives
// as long as its last entry.
var enterScript = redis.NewScript(`
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', ARGV[3])
redis.call('ZADD', KEYS[1], ARGV[2], ARGV[1])
local left = string.format('%.0f', tonumber(ARGV[2]) - tonumber(ARGV[3]))
if redis.call('PTTL', KEYS[1]) < tonumber(left) then redis.call('PEXPIRE', KEYS[1], left) end
return 1
`)

// claimScript: KEYS mark; ARGV attempt, ttl in ms. It answers 1 where the mark is this attempt's.
var claimScript = redis.NewScript(`
local holder = redis.call('GET', KEYS[1])
if not holder then
  redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
  return 1
end
if holder == ARGV[1] then return 1 end
return 0
`)

// acquireScript: KEYS lease; ARGV holder, ttl in ms. It answers 1 where the holder has it now.
var acquireScript = redis.NewScript(`
local holder = redis.call('GET', KEYS[1])
if holder and holder ~= ARGV[1] then return 0 end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
redis.call('SET', KEYS[1], ARGV[1], 'PX', ARGV[2])
return 1
`)

// releaseScript: KEYS lease; ARGV holder.
var releaseScript = redis.NewScript(`
if redis.call('GET', KEYS[1]) == ARGV[1] then redis.call('DEL', KEYS[1]) end
return 1
`)

// buryScript: KEYS tombstone; ARGV when, in microseconds (as a double they are exact until the year 2255), ttl in ms. The
// later time and the longer life stay.
var buryScript = redis.NewScript(`
local at, left = ARGV[1], tonumber(ARGV[2])
local before = redis.call('GET', KEYS[1])
if before then
  if tonumber(before) > tonumber(at) then at = before end
  left = math.max(left, redis.call('PTTL', KEYS[1]))
end
left = string.format('%.0f', left)
redis.call('PEXPIRE', KEYS[1], left)
redis.call('SET', KEYS[1], at, 'PX', left)
return 1
`)
