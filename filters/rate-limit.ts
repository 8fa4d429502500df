import type { AcceptedConnection, Client, Drop, Host, OptionSpecs, Payload } from 'filtered-websocket'
import { Addresses } from './rate-limit/addresses.ts'
import { type Counted, Identities } from './rate-limit/identities.ts'
import { Meter, Meters, type Wait } from './rate-limit/meter.ts'
import { networkOf } from './rate-limit/network.ts'
import { Throttle } from './rate-limit/throttle.ts'

export const describe = 'Limit messages, bytes and connections by client and address'

export const stage = 'guard'

export const options = {
  'rate-limit-messages': {
    type: 'number',
    default: 100,
    min: 1,
    describe: 'Messages per second and client, and admitted requests per second and address; also the size of a burst',
  },
  'rate-limit-bytes': {
    type: 'number',
    default: 1_048_576,
    min: 1,
    describe: 'Bytes per second and client, and of admitted requests per address; also the size of a burst',
  },
  'rate-limit-grace': {
    type: 'number',
    default: 1,
    min: 0,
    describe: 'Seconds between the warning and the close of a client that stays over a limit',
  },
  'rate-limit-warning': {
    type: 'string',
    choices: ['text', 'json', 'none'],
    default: 'text',
    describe: 'Form of the warning: text, JSON with the fields error and message, or none',
  },
  'rate-limit-connects': {
    type: 'number',
    default: 20,
    min: 1,
    describe:
      'Connections per second and address (IPv6: per /64); also the size of a burst. Behind a proxy set --trust-proxy',
  },
  'rate-limit-clients': {
    type: 'number',
    default: 256,
    min: 1,
    integer: true,
    describe:
      'Concurrent clients per address; 32 more connections may be open for handshakes and plain requests, others are closed at once',
  },
  'rate-limit-identity-messages': {
    type: 'number',
    refuseEmpty: true,
    min: 1,
    describe: 'Messages and admitted requests per second of an identity on this node. Default: no limit',
  },
  'rate-limit-identity-bytes': {
    type: 'number',
    refuseEmpty: true,
    min: 1,
    describe: 'Bytes per second of all messages and admitted requests of an identity on this node. Default: no limit',
  },
  'rate-limit-identity-connects': {
    type: 'number',
    refuseEmpty: true,
    min: 1,
    integer: true,
    describe: 'Connections per minute and identity, on all nodes. Default: no limit',
  },
} as const satisfies OptionSpecs

const DROP = Symbol.for('filtered-websocket.drop') as Drop
const SWEEP_MS = 10_000
const TOO_MANY = 'too many connections of this identity'
const UNAVAILABLE = 'try again later'

/**
 * Enforces limits per client, address and identity. Closes a connection over a limit before it is read, and refuses a handshake
 * and a request with 429. Drops messages over a limit: warns the client first, and closes it (1008) if it stays over the limit
 * after the grace period.
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
  /** Of plain requests, by network: their clients do not last. */
  const requestMeters = new Meters(rates)
  const identities = new Identities(identityLimits, host)
  const identityMeters = new Meters(identityLimits)
  const policy = { graceMs, warning: chosen['rate-limit-warning'] }
  const throttle = new Throttle('rate limit', '', rates, policy)
  const identityThrottle = new Throttle('identity rate limit', ' from all your connections', identityLimits, policy)
  const meters = new WeakMap<Client, Meter>()
  /** Identity for which each client's connection was counted. */
  const counted = new WeakMap<Client, string>()

  every(SWEEP_MS, () => addresses.sweep(Date.now()))
  every(SWEEP_MS, () => identityMeters.sweep(Date.now()))
  every(SWEEP_MS, () => requestMeters.sweep(Date.now()))

  function meterOf(client: Client, now: number): Meter {
    let meter = meters.get(client)
    if (meter === undefined) {
      meter = new Meter(rates, now)
      meters.set(client, meter)
    }
    return meter
  }

  /** Counts the connection once for its identity, as soon as the client has one. */
  function countConnect(client: Client): Promise<Counted> | undefined {
    const { identity } = client
    if (identity === undefined || !identities.countsConnects || counted.get(client) === identity) return undefined
    counted.set(client, identity)
    return identities.connect(identity)
  }

  /** Counts the connection of an open client, and closes it if it is over the limit. */
  function checkConnect(client: Client): Promise<Drop | undefined> | undefined {
    return countConnect(client)?.then(outcome => {
      if (outcome === 'too many') return client.disconnect(4429, TOO_MANY)
      return outcome === 'unavailable' ? client.disconnect(1013, UNAVAILABLE) : undefined
    })
  }

  /** Charges a plain request as a message: to its address, and to its identity as soon as it has one. */
  function chargeRequest(client: Client): Drop | undefined {
    const now = Date.now()
    // The size of a chunked body is not known yet.
    const size = Number(client.handshake?.headers['content-length'] ?? 0)
    let charged: string | undefined
    const chargeIdentity = () => {
      const { identity } = client
      if (identity === undefined || identity === charged) return undefined
      charged = identity
      const wait = identityMeters.of(identity, now)?.waitFor(size, now, 'too many requests of this identity')
      return wait && refuse(client, wait)
    }
    const network = networkOf(client.remote)
    const wait = requestMeters.of(network, now)?.waitFor(size, now, 'too many requests from your address')
    if (wait !== undefined) return refuse(client, wait)
    // A guard behind this one may authenticate it.
    client.onIdentity(() => void chargeIdentity())
    return chargeIdentity()
  }

  async function onIdentity(client: Client): Promise<void> {
    await checkConnect(client)
  }

  return {
    accept: (connection: AcceptedConnection) => (addresses.accept(connection) ? undefined : DROP),
    connect(client: Client): Drop | Promise<Drop | undefined> | undefined {
      if (client.handshake?.kind === 'request') return chargeRequest(client)
      const wait = addresses.enter(client, Date.now())
      if (wait !== undefined) return refuse(client, wait)
      return countConnect(client)?.then(outcome => {
        if (outcome === 'too many') return client.refuse(429, TOO_MANY, { 'Retry-After': '60' })
        return outcome === 'unavailable' ? client.refuse(503, UNAVAILABLE, { 'Retry-After': '5' }) : undefined
      })
    },
    open(client: Client): Promise<Drop | undefined> | undefined {
      // Counts a client that gets its identity later, even if it sends no further message.
      if (identities.countsConnects) client.onIdentity(onIdentity)
      return checkConnect(client)
    },
    message(payload: Payload, client: Client): Drop | Promise<Drop | undefined> | undefined {
      const now = Date.now()
      const size = Buffer.byteLength(payload)
      if (!meterOf(client, now).consume(size, now)) return throttle.apply(client, now)
      const { identity } = client
      if (identity === undefined) return undefined
      if (identityMeters.of(identity, now)?.consume(size, now) === false) return identityThrottle.apply(client, now)
      return checkConnect(client)
    },
  }
}

function refuse(client: Client, { reason, seconds }: Wait): Drop {
  return client.refuse(429, reason, { 'Retry-After': String(seconds) })
}
