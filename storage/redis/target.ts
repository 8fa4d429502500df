import { optionError, readAuthorities } from 'filtered-websocket/kit'
import type { RedisOptions as IoredisOptions } from 'ioredis'
import type { RedisOptions } from './options.ts'

/** Options of ioredis, with the reply mapping that its overloads need. */
export type ConnectOptions = IoredisOptions & { replyMapping?: 'legacy' }

export interface Address {
  readonly host: string
  readonly port: number
}

/** The address of Redis and the options to connect. */
export interface Target {
  /** Name in logs and errors, without secrets. */
  readonly label: string
  /** Seed nodes of a Redis Cluster. */
  readonly cluster: readonly Address[] | undefined
  readonly connect: ConnectOptions
}

const SENTINEL_PORT = 26_379
const REDIS_PORT = 6379

/**
 * Derives the target from the options.
 *
 * @param warn - receives a warning for each authority that is expired or not yet valid.
 * @throws Error `ERR_OPTION` for an invalid option, without secrets in the message.
 */
export function targetOf(options: RedisOptions, warn: (warning: string) => void): Target {
  const key = options['redis-key']
  // Braces would change the slot of a key in a cluster; a colon could mix up the channels of two servers.
  if (!/^[\w.-]+$/.test(key))
    throw optionError(`--redis-key takes a word of letters, digits, "-", "_" and ".", received "${key}"`)
  const reserved = options['redis-channels'].find(channel => channel.startsWith(`${key}:`))
  if (reserved !== undefined)
    throw optionError(`--redis-channels: "${reserved}" is reserved, as all that begin with --redis-key and a colon`)
  const auth = {
    ...(options['redis-user'] !== undefined && { username: options['redis-user'] }),
    ...(options['redis-password'] !== undefined && { password: options['redis-password'] }),
  }
  const tls = tlsOf(options, warn)
  const cluster = addressesOf('redis-cluster', options['redis-cluster'], REDIS_PORT)
  const sentinels = addressesOf('redis-sentinels', options['redis-sentinels'], SENTINEL_PORT)
  const given = [cluster.length > 0 && '--redis-cluster', sentinels.length > 0 && '--redis-sentinels']
    .concat(options['redis-url'] !== undefined && '--redis-url')
    .filter(Boolean)
  if (given.length > 1) throw optionError(`${given.join(' and ')} are alternatives; give one of them`)
  if (cluster.length > 0) return { label: `cluster ${labelOf(cluster)}`, cluster, connect: { ...auth, ...tls } }
  if (sentinels.length > 0) {
    const name = options['redis-sentinel-name']
    const password = options['redis-sentinel-password']
    return {
      label: `${name} of sentinels ${labelOf(sentinels)}`,
      cluster: undefined,
      connect: {
        ...auth,
        ...tls,
        sentinels: [...sentinels],
        name,
        ...(password !== undefined && { sentinelPassword: password }),
        ...(tls.tls !== undefined && { sentinelTLS: tls.tls, enableTLSForSentinelMode: true }),
      },
    }
  }
  const url = options['redis-url']
  if (url !== undefined) return ofUrl(url, auth, tls)
  const address = { host: options['redis-host'], port: options['redis-port'] }
  return { label: labelOf([address]), cluster: undefined, connect: { ...address, ...auth, ...tls } }
}

function ofUrl(text: string, auth: ConnectOptions, tls: ConnectOptions): Target {
  const url = URL.canParse(text) ? new URL(text) : undefined
  // A "/", "?" or "#" in the password ends the host for the parser: what follows, which may be secret, has the "@".
  const hasSplitPassword = /[/?#].*@/.test(text.replace(/^[\w+]*:\/\//, ''))
  if (hasSplitPassword) throw optionError('--redis-url: in user and password "/" is written %2F, "?" %3F and "#" %23')
  if (url === undefined || !/^rediss?:$/.test(url.protocol) || url.hostname === '')
    throw optionError('--redis-url takes redis://[user:password@]host[:port], or rediss:// for TLS')
  if (url.search !== '' || url.hash !== '')
    throw optionError('--redis-url takes no parameters after "?" or "#"; use the other --redis options')
  if (!/^\/?0?$/.test(url.pathname))
    throw optionError('--redis-url takes no database, since channels do not have one; separate servers by --redis-key')
  const address = { host: url.hostname.replace(/^\[|\]$/g, ''), port: Number(url.port || REDIS_PORT) }
  return {
    label: labelOf([address]),
    cluster: undefined,
    connect: {
      ...address,
      ...auth,
      ...(url.username !== '' && { username: decoded(url.username) }),
      ...(url.password !== '' && { password: decoded(url.password) }),
      ...(url.protocol === 'rediss:' && { tls: {} }),
      ...tls,
    },
  }
}

function decoded(part: string): string {
  try {
    return decodeURIComponent(part)
  } catch {
    throw optionError('--redis-url: a % in user or password is written %25')
  }
}

function tlsOf(options: RedisOptions, warn: (warning: string) => void): Pick<ConnectOptions, 'tls'> {
  const file = options['redis-tls-ca']
  if (file === undefined) return options['redis-tls'] ? { tls: {} } : {}
  return { tls: { ca: readAuthorities('--redis-tls-ca', file, warn) } }
}

function addressesOf(option: string, texts: readonly string[], defaultPort: number): readonly Address[] {
  return texts.map(text => {
    const [, host, port = String(defaultPort)] = /^(?:redis:\/\/)?(\[[^\]]+\]|[^:/@\s]+)(?::(\d+))?$/.exec(text) ?? []
    if (host === undefined || Number(port) < 1 || Number(port) > 65_535)
      throw optionError(
        `--${option} takes host:port, received ${text.includes('@') ? 'a user or password, which have separate options' : `"${text}"`}`,
      )
    return { host: host.replace(/^\[|\]$/g, ''), port: Number(port) }
  })
}

function labelOf(addresses: readonly Address[]): string {
  return addresses.map(({ host, port }) => (host.includes(':') ? `[${host}]:${port}` : `${host}:${port}`)).join(', ')
}
