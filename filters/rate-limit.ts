import type { Client, Drop, Host, OptionSpecs, Payload } from 'filtered-websocket'

export const stage = 'guard'

export const options = {
  'rate-limit-messages': {
    type: 'number',
    default: 100,
    min: 1,
    describe: 'messages a second that a client may send, and at once',
  },
  'rate-limit-bytes': {
    type: 'number',
    default: 1_048_576,
    min: 1,
    describe: 'bytes a second that a client may send, and at once',
  },
  'rate-limit-grace': {
    type: 'number',
    default: 1,
    min: 0,
    describe: 'seconds between the warning and the close of a client that goes on',
  },
} as const satisfies OptionSpecs

/** Milliseconds within the limits after which a warning is forgotten. */
const FORGIVEN_AFTER = 10_000

/** What is left in a client's buckets, and when it was last over. Times in milliseconds, 0: never. */
interface Usage {
  messages: number
  bytes: number
  filledAt: number
  overAt: number
  warnedAt: number
}

/**
 * Two token buckets a client. What is over the limit is dropped: the first time with a warning, and with a close (1008)
 * once it has gone on past the grace time.
 */
export const setup = ({ options: chosen }: Host<typeof options>) => {
  const { 'rate-limit-messages': messages, 'rate-limit-bytes': bytes } = chosen
  const graceMs = chosen['rate-limit-grace'] * 1000
  const usages = new WeakMap<Client, Usage>()
  const warning = `Warning: more than ${messages} messages or ${bytes} bytes a second; slow down or be closed`

  function isOver(usage: Usage, size: number, now: number): boolean {
    // A clock may be set back.
    const seconds = Math.max(0, now - usage.filledAt) / 1000
    usage.filledAt = now
    usage.messages = Math.min(messages, usage.messages + seconds * messages)
    usage.bytes = Math.min(bytes, usage.bytes + seconds * bytes)
    // A message larger than the bucket passes when the bucket is full, and is paid for afterwards.
    if (usage.messages < 1 || usage.bytes < Math.min(size, bytes)) return true
    usage.messages -= 1
    usage.bytes -= size
    return false
  }

  function refuse(client: Client, usage: Usage, now: number): Drop {
    if (now - usage.overAt > FORGIVEN_AFTER) usage.warnedAt = 0
    usage.overAt = now
    if (usage.warnedAt === 0) {
      usage.warnedAt = now
      client.send(warning)
    } else if (now - usage.warnedAt > graceMs) {
      client.disconnect(1008, 'rate limit')
    }
    return client.drop('rate limit')
  }

  return {
    message(payload: Payload, client: Client): Drop | undefined {
      const now = Date.now()
      let usage = usages.get(client)
      if (usage === undefined) {
        usage = { messages, bytes, filledAt: now, overAt: 0, warnedAt: 0 }
        usages.set(client, usage)
      }
      return isOver(usage, Buffer.byteLength(payload), now) ? refuse(client, usage, now) : undefined
    },
  }
}
