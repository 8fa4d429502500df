import { createHash } from 'node:crypto'

/** A Lua script. */
export interface Script {
  readonly text: string
  /** Its name for EVALSHA. */
  readonly sha: string
}

/**
 * Keys of a stream, all in one slot:
 *
 *     KEY:stream:{HASH}           hash    epoch, top, oldest (time of the oldest entry, or earlier), =NAME for each attribute, and
 *                                         bytes: bytes of all payloads since the first entry that was counted, and its offset; its
 *                                         name is also the channel of the announcements
 *     KEY:stream:{HASH}:entries   stream  ids are OFFSET-TIME; field e, and b in a stream with a bound of bytes: the bytes before it
 *     KEY:stream:{HASH}:calls     hash    by node: number, time and answer of its last call
 *     KEY:stream:{HASH}:key:HASH  string  with PX: epoch and offset of an append with an idempotency key
 *
 * Numbers in commands are formatted, since Lua writes large ones with an exponent.
 */
const COMMON = `
local function plain(number) return string.format('%.0f', number) end

local function milliseconds()
  local time = redis.call('TIME')
  return time[1] * 1000 + math.floor(time[2] / 1000)
end

-- Old entries are deleted too: an XADD below their ids would fail. HSET is first: if its memory is full, Redis refuses only the
-- first write of a script.
local function begin(meta, data, epoch)
  redis.call('HSET', meta, 'epoch', epoch)
  redis.call('DEL', data)
  redis.call('DEL', meta)
  redis.call('HSET', meta, 'epoch', epoch, 'top', 0, 'oldest', 0)
end

-- Epoch, top, oldest time and counted bytes of a stream, which begins if it does not exist.
local function open(meta, data, epoch)
  local found = redis.call('HMGET', meta, 'epoch', 'top', 'oldest', 'bytes')
  if found[1] then return found[1], tonumber(found[2]), tonumber(found[3]), found[4] end
  begin(meta, data, epoch)
  return epoch, 0, 0
end

-- The number of entries that have not expired, and the time of the oldest. Deletes the others if Redis accepts writes.
local function countKept(meta, data, top, oldest, ttl, now)
  local length = redis.call('XLEN', data)
  if length == 0 or oldest + ttl > now then return length, oldest end
  local low, high, at = top - length + 1, top + 1, now
  while low < high do
    local middle = math.floor((low + high) / 2)
    local id = redis.call('XRANGE', data, plain(middle), plain(middle))[1][1]
    local time = tonumber(string.match(id, '%d+$'))
    if time + ttl > now then
      high, at = middle, time
    else
      low = middle + 1
    end
  end
  redis.pcall('XTRIM', data, 'MINID', plain(low))
  redis.pcall('HSET', meta, 'oldest', plain(at))
  return top - low + 1, at
end

-- Names and values in turn.
local function attributes(meta)
  local found, fields = {}, redis.call('HGETALL', meta)
  for i = 1, #fields, 2 do
    if string.sub(fields[i], 1, 1) == '=' then
      found[#found + 1] = string.sub(fields[i], 2)
      found[#found + 1] = fields[i + 1]
    end
  end
  return found
end

-- The error of a command by pcall, without its line in Redis 6.2; nil if it succeeded.
local function errorOf(reply)
  return type(reply) == 'table' and reply.err and (string.gsub(reply.err, '^@user_script: *%d+: %-?', '')) or nil
end

-- The error of Redis if it refuses the announcement, else an empty string.
local function announce(command, meta, epoch, top, now, entries)
  local head = struct.pack('>BBc0I6I6', 1, #epoch, epoch, top, now)
  return errorOf(redis.pcall(command, meta, head .. table.concat(entries))) or ''
end
`

/**
 * KEYS: metadata, entries, calls, keys of the appends. ARGV: JSON as `AppendHead`, the entries. Returns the answer as JSON, and
 * the error of PUBLISH. The answer is the epoch and for each append the offset, `["key", offset]` for a repeated one,
 * or `["full" or "attributes", top, names and values that its "when" names]`.
 */
export const APPEND = scriptOf(`
local MAX_NODES, KEY_MS = 256, 600000
local meta, data, calls = KEYS[1], KEYS[2], KEYS[3]
local head = cjson.decode(ARGV[1])

local record = redis.call('HGET', calls, head.node)
if record then
  local number, answer = string.match(record, '^(%d+) %d+ (.*)$')
  if number == head.call then return {answer, ''} end
  if tonumber(number) > tonumber(head.call) then
    return redis.error_reply('ERR append number ' .. head.call .. ' comes after number ' .. number .. ' of the same node')
  end
end

local now = milliseconds()
local nowText = plain(now)
local epoch, top, oldest, counted = open(meta, data, head.epoch)
local isChanged = epoch == head.known.epoch and head.known.offset > top
if isChanged then
  epoch, top, oldest, counted = head.epoch, 0, 0, false
  begin(meta, data, epoch)
end
local length
length, oldest = countKept(meta, data, top, oldest, tonumber(head.ttl), now)
local wasEmpty = length == 0

-- Bytes of all counted payloads, and the offset of the first.
local total, firstCounted = string.match(counted or '', '^(%d+) (%d+)$')
total, firstCounted = tonumber(total or 0), tonumber(firstCounted or top + 1)

-- The counted bytes before an entry; an entry of a time without a bound has none.
local function bytesBefore(offset)
  if offset > top then return total end
  if offset < firstCounted then return 0 end
  local entry = redis.call('XRANGE', data, plain(offset), plain(offset))[1]
  return tonumber(entry[2][4] or 0)
end

local kept = head.bytes and total - bytesBefore(top - length + 1)
local answer, appended, nextEntry = {epoch}, {}, 2

local function matches(when)
  for name, value in pairs(when) do
    local found = redis.call('HGET', meta, '=' .. name)
    if found ~= (value ~= cjson.null and value) then return false end
  end
  return true
end

-- Names and values in turn.
local function named(when)
  local found = {}
  for name in pairs(when or {}) do
    local value = redis.call('HGET', meta, '=' .. name)
    if value then
      found[#found + 1] = name
      found[#found + 1] = value
    end
  end
  return found
end

local function change(set)
  for name, value in pairs(set) do
    if value == cjson.null then
      redis.call('HDEL', meta, '=' .. name)
    else
      redis.call('HSET', meta, '=' .. name, value)
    end
  end
  isChanged = true
end

local function add(count)
  for i = nextEntry, nextEntry + count - 1 do
    top = top + 1
    if head.bytes then
      redis.call('XADD', data, plain(top) .. '-' .. nowText, 'e', ARGV[i], 'b', plain(total))
      total = total + head.sizes[i - 1]
      kept = kept + head.sizes[i - 1]
    else
      redis.call('XADD', data, plain(top) .. '-' .. nowText, 'e', ARGV[i])
    end
    appended[#appended + 1] = ARGV[i]
  end
  length = length + count
  return top
end

local function isFull(count)
  if count == 0 or not head.refuse then return false end
  local bytes = 0
  if head.bytes then
    for i = nextEntry, nextEntry + count - 1 do bytes = bytes + head.sizes[i - 1] end
  end
  return length + count > head.size or head.bytes and kept + bytes > head.bytes
end

local function append(count, key, when, set)
  if key then
    local earlier, offset = string.match(redis.call('GET', key) or '', '^(.*) (%d+)$')
    if earlier == epoch then return {'key', tonumber(offset)} end
  end
  if when and not matches(when) then return {'attributes', top, named(when)} end
  if isFull(count) then return {'full', top, named(when)} end
  add(count)
  if set then change(set) end
  if key then redis.call('SET', key, epoch .. ' ' .. plain(top), 'PX', KEY_MS) end
  return top
end

-- An append is its number of entries, or an object if it has more than entries.
for i, one in ipairs(head.appends) do
  if type(one) == 'number' then
    answer[i + 1] = append(one)
    nextEntry = nextEntry + one
  else
    answer[i + 1] = append(one.count, one.key and KEYS[one.key], one.when, one.set)
    nextEntry = nextEntry + one.count
  end
end

if #appended > 0 then
  if not head.refuse and length > head.size then
    redis.call('XTRIM', data, 'MAXLEN', plain(head.size))
    length = head.size
  end
  if head.bytes and not head.refuse then
    -- The first entry to keep: bytesBefore never decreases.
    local low, high = top - length + 1, top + 1
    while low < high do
      local middle = math.floor((low + high) / 2)
      if total - bytesBefore(middle) > head.bytes then low = middle + 1 else high = middle end
    end
    redis.call('XTRIM', data, 'MINID', plain(low))
  end
  redis.call('HSET', meta, 'top', plain(top), 'oldest', wasEmpty and nowText or plain(oldest))
  if head.bytes then
    redis.call('HSET', meta, 'bytes', plain(total) .. ' ' .. plain(firstCounted))
  elseif counted then
    redis.call('HDEL', meta, 'bytes')
  end
  redis.call('PEXPIRE', data, head.ttl)
end
local text = cjson.encode(answer)
local isNew = redis.call('HSET', calls, head.node, head.call .. ' ' .. nowText .. ' ' .. text)
redis.call('PEXPIRE', meta, head.life)
redis.call('PEXPIRE', calls, head.life)
if isNew == 1 and redis.call('HLEN', calls) > MAX_NODES then
  local records, oldestNode, oldestTime = redis.call('HGETALL', calls), nil, math.huge
  for i = 1, #records, 2 do
    local time = tonumber(string.match(records[i + 1], '^%d+ (%d+)'))
    if time < oldestTime then oldestNode, oldestTime = records[i], time end
  end
  redis.call('HDEL', calls, oldestNode)
end
if #appended == 0 and not isChanged then return {text, ''} end
return {text, announce(head.publish, meta, epoch, top, now, appended)}`)

/**
 * KEYS: metadata, entries. ARGV: epoch for a new stream; `after`, `oldest` or `newest`; epoch and offset of the position;
 * entries; bytes; ttl; life. Returns epoch, top, floor, reason of the loss, attributes, ids and entries in turn.
 */
export const READ = scriptOf(`
local MAX_STEP = 512
local meta, data = KEYS[1], KEYS[2]
local from, entries, bytes = ARGV[2], tonumber(ARGV[5]), tonumber(ARGV[6])
local epoch, top, oldest = open(meta, data, ARGV[1])
redis.pcall('PEXPIRE', meta, ARGV[8])
local floor = top - countKept(meta, data, top, oldest, tonumber(ARGV[7]), milliseconds())

local lost, after = '', floor
if from == 'after' then
  after = tonumber(ARGV[4])
  lost = ARGV[3] ~= epoch and 'epoch' or after > top and 'ahead' or after < floor and 'trimmed' or ''
end

-- Reads twice as many entries each time, so that at most about twice the bytes are read.
local function page()
  local found, count, size, step = {}, 0, 0, 1
  local at = from == 'newest' and top or after + 1
  while count < entries do
    local wanted = math.min(step, entries - count)
    local part
    if from == 'newest' then
      part = redis.call('XREVRANGE', data, plain(at), plain(floor + 1), 'COUNT', wanted)
      at = at - #part
    else
      part = redis.call('XRANGE', data, plain(at), '+', 'COUNT', wanted)
      at = at + #part
    end
    for _, entry in ipairs(part) do
      local content = entry[2][2]
      size = size + #content
      if size > bytes and count > 0 then return found end
      count = count + 1
      found[#found + 1] = entry[1]
      found[#found + 1] = content
    end
    if #part < wanted then return found end
    step = math.min(2 * step, MAX_STEP)
  end
  return found
end

return {epoch, plain(top), plain(floor), lost, attributes(meta), lost == '' and page() or {}}`)

/** KEYS: metadata and entries of each stream. ARGV: an epoch for a new stream and the life of each. Returns epoch and top of each. */
export const TOPS = scriptOf(`
local tops = {}
for i = 1, #KEYS / 2 do
  local meta = KEYS[2 * i - 1]
  local epoch, top = open(meta, KEYS[2 * i], ARGV[2 * i - 1])
  redis.pcall('PEXPIRE', meta, ARGV[2 * i])
  tops[2 * i - 1] = epoch
  tops[2 * i] = plain(top)
end
return tops`)

/** KEYS: metadata, entries. ARGV: epoch, offset. */
export const TRIM = scriptOf(`
local found = redis.call('HMGET', KEYS[1], 'epoch', 'top')
if found[1] == ARGV[1] then
  redis.call('XTRIM', KEYS[2], 'MINID', plain(math.min(tonumber(ARGV[2]), tonumber(found[2])) + 1))
end`)

/** KEYS: metadata, entries. ARGV: next epoch, life, command to publish. Returns the error of PUBLISH. */
export const REMOVE = scriptOf(`
if redis.call('EXISTS', KEYS[1], KEYS[2]) == 0 then return '' end
begin(KEYS[1], KEYS[2], ARGV[1])
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return announce(ARGV[3], KEYS[1], ARGV[1], 0, milliseconds(), {})`)

/**
 * Tries all commands of the scripts but PUBLISH. KEYS: metadata and entries of no topic. Returns the first command that fails, and
 * its error.
 */
export const RIGHTS = scriptOf(`
local meta, data, failed = KEYS[1], KEYS[2], nil
for _, command in ipairs({
  {'DEL', meta, data},
  {'HSET', meta, 'x', 1},
  {'HGET', meta, 'x'},
  {'HMGET', meta, 'x'},
  {'HGETALL', meta},
  {'HLEN', meta},
  {'HDEL', meta, 'x'},
  {'XADD', data, '1-1', 'e', ''},
  {'XLEN', data},
  {'XRANGE', data, '1', '1'},
  {'XREVRANGE', data, '1', '1'},
  {'XTRIM', data, 'MAXLEN', 0},
  {'PEXPIRE', data, 1000},
  {'EXISTS', data},
  {'SET', meta, '', 'PX', 1000},
  {'GET', meta},
  {'TIME'},
}) do
  local err = errorOf(redis.pcall(unpack(command)))
  if err then failed = failed or command[1] .. ': ' .. err end
end
redis.pcall('DEL', meta, data)
return failed`)

function scriptOf(own: string): Script {
  const text = COMMON + own
  return { text, sha: createHash('sha1').update(text).digest('hex') }
}
