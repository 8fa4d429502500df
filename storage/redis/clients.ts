import { Cluster, Redis } from 'ioredis'
import type { ConnectOptions, Target } from './target.ts'

/** Upper bound of the retry delay in milliseconds; jitter prevents that all nodes reconnect at once. */
const MAX_RETRY_DELAY = 1000
/** Milliseconds for a replaced connection to close. */
const DISCONNECT_TIMEOUT = 100

export type Client = Redis | Cluster

export interface ClientSettings {
  /** Milliseconds for an answer. */
  readonly timeoutMs: number
  /** Connection name in CLIENT LIST. */
  readonly name: string
}

/** A client of ioredis that is not connected, and that never sends a command twice. */
export function createClient({ cluster, connect }: Target, { timeoutMs, name }: ClientSettings): Client {
  const common: ConnectOptions = {
    ...connect,
    connectionName: name,
    connectTimeout: timeoutMs,
    disconnectTimeout: DISCONNECT_TIMEOUT,
  }
  if (cluster === undefined)
    return new Redis({
      ...common,
      lazyConnect: true,
      // Resent commands could be executed twice; subscriptions.ts subscribes again.
      autoResendUnfulfilledCommands: false,
      autoResubscribe: false,
      maxRetriesPerRequest: 0,
      enableOfflineQueue: false,
      retryStrategy: retryDelay,
      sentinelRetryStrategy: retryDelay,
      sentinelCommandTimeout: timeoutMs,
    })
  return new Cluster([...cluster], {
    lazyConnect: true,
    shardedSubscribers: true,
    // After a lost connection a command must fail, not be resent to another node.
    retryDelayOnFailover: 0,
    slotsRefreshTimeout: timeoutMs,
    slotsRefreshInterval: 5000,
    clusterRetryStrategy: retryDelay,
    // Keeps the host name, which certificates are checked against; ioredis would resolve it.
    ...(common.tls !== undefined && {
      dnsLookup: (host: string, done: (error: null, address: string) => void) => done(null, host),
    }),
    redisOptions: common,
  })
}

/** Milliseconds before the next try. */
export function retryDelay(tries: number): number {
  return Math.min(2 ** Math.min(tries, 10) * 25, MAX_RETRY_DELAY) * (0.5 + Math.random())
}
