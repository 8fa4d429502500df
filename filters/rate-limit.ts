import type { Client, Drop, Host, OptionSpecs, Payload } from 'filtered-websocket'
import { Addresses } from './rate-limit/addresses.ts'
import { type Counted, Identities } from './rate-limit/identities.ts'
import { Meter } from './rate-limit/meter.ts'
import { Restraint } from './rate-limit/restraint.ts'

export const describe = 'Limit messages, bytes and connections by client and address'

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
  'rate-limit-connects': {
    type: 'number',
    default: 20,
    min: 1,
    describe:
      'connections a second that an address (IPv6: a /64) may open, and at once; behind a proxy see --trust-proxy',
  },
  'rate-limit-clients': {
    type: 'number',
    default: 256,
    min: 1,
    integer: true,
    describe: 'clients at a time that an address may have',
  },
  'rate-limit-identity-messages': {
    type: 'number',
    min: 1,
    describe:
      'messages a second that all clients of an identity may send here together, and at once; unset: any number',
  },
  'rate-limit-identity-bytes': {
    type: 'number',
    min: 1,
    describe: 'bytes a second that all clients of an identity may send here together, and at once; unset: any number',
  },
  'rate-limit-identity-connects': {
    type: 'number',
    min: 1,
    integer: true,
    describe: 'connections a minute that an identity may open, counted over all nodes; unset: any number',
  },
} as const satisfies OptionSpecs

const SWEEP_MS = 10_000
const TOO_MANY = 'too many connections of this identity'
const UNKNOWN = 'try again later'

/**
 * Limits by client, by address and by identity. A connection past a limit is refused with 429. A message past a limit is
 * dropped: the first time with a warning, and with a close (1008) once its client has gone on past the grace time.
 */
export const setup = (host: Host<typeof options>) => {
  const { options: chosen, every } = host
  const rates = { messages: chosen['rate-limit-messages'], bytes: chosen['rate-limit-bytes'] }
  const identityLimits = {
    messages: chosen['rate-limit-identity-messages'],
    bytes: chosen['rate-limit-identity-bytes'],
    connects: chosen['rate-limit-identity-connects'],
  }
  const graceMs = chosen['rate-limit-grace'] * 1000
  const addresses = new Addresses({ connects: chosen['rate-limit-connects'], clients: chosen['rate-limit-clients'] })
  const identities = new Identities(identityLimits, host)
  const restraint = new Restraint('rate limit', '', rates, graceMs)
  const identityRestraint = new Restraint('identity rate limit', ' from all your connections', identityLimits, graceMs)
  const meters = new WeakMap<Client, Meter>()
  /** The identities that connections were counted for. */
  const counted = new WeakMap<Client, string>()

  every(SWEEP_MS, () => {
    const now = Date.now()
    addresses.sweep(now)
    identities.sweep(now)
  })

  function meterOf(client: Client, now: number): Meter {
    let meter = meters.get(client)
    if (meter === undefined) {
      meter = new Meter(rates, now)
      meters.set(client, meter)
    }
    return meter
  }

  /** Counts the connection for its identity, once, as soon as that is known. */
  function countConnect(client: Client): Promise<Counted> | undefined {
    const { identity } = client
    if (identity === undefined || !identities.countsConnects || counted.get(client) === identity) return undefined
    counted.set(client, identity)
    return identities.connect(identity)
  }

  /** The identity of an open client has become known. */
  function admit(client: Client): Promise<Drop | undefined> | undefined {
    return countConnect(client)?.then(outcome => {
      if (outcome === 'too many') return client.disconnect(4429, TOO_MANY)
      return outcome === 'unknown' ? client.disconnect(1013, UNKNOWN) : undefined
    })
  }

  async function admitted(client: Client): Promise<void> {
    await admit(client)
  }

  return {
    connect(client: Client): Drop | Promise<Drop | undefined> | undefined {
      const wait = addresses.enter(client.remote, client.signal, Date.now())
      if (wait !== undefined) return client.refuse(429, wait.why, { 'Retry-After': String(wait.seconds) })
      return countConnect(client)?.then(outcome => {
        if (outcome === 'too many') return client.refuse(429, TOO_MANY, { 'Retry-After': '60' })
        return outcome === 'unknown' ? client.refuse(503, UNKNOWN, { 'Retry-After': '5' }) : undefined
      })
    },
    open(client: Client): Promise<Drop | undefined> | undefined {
      // Who only listens is counted too, once its first message has told who it is.
      if (identities.countsConnects) client.onIdentity(admitted)
      return admit(client)
    },
    message(payload: Payload, client: Client): Drop | Promise<Drop | undefined> | undefined {
      const now = Date.now()
      const size = Buffer.byteLength(payload)
      if (!meterOf(client, now).take(size, now)) return restraint.apply(client, now)
      const { identity } = client
      if (identity === undefined) return undefined
      if (!identities.take(identity, size, now)) return identityRestraint.apply(client, now)
      return admit(client)
    },
  }
}
