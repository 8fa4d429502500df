import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger, OpenStorage, OptionSpecs, OptionValues } from 'filtered-websocket'
import { RedisBus } from './redis/bus.ts'
import { Canary } from './redis/canary.ts'
import { RedisCarrier } from './redis/carrier.ts'
import { Connection } from './redis/connection.ts'
import { RedisHistory } from './redis/history.ts'
import { LeasedSets } from './redis/sets.ts'
import { Subscriptions } from './redis/subscriptions.ts'
import { targetOf } from './redis/target.ts'
import { RedisValues } from './redis/values.ts'

export const options = {
  'redis-url': {
    type: 'string',
    secret: true,
    describe: 'redis://[user:password@]host[:port], or rediss:// for TLS; in place of host, port, user and password',
  },
  'redis-host': { type: 'string', default: '127.0.0.1', describe: 'host name or address' },
  'redis-port': { type: 'number', default: 6379, min: 1, max: 65_535, integer: true, describe: 'TCP port' },
  'redis-channels': { type: 'array', default: ['global'], describe: 'channels that feed the consumer chain' },
  'redis-key': {
    type: 'string',
    default: 'fws',
    describe: 'what all keys and channels between nodes begin with; nodes of one server share it',
  },
  'redis-user': { type: 'string', describe: 'ACL user; without it the default user' },
  'redis-password': { type: 'string', secret: true, describe: 'password' },
  'redis-tls': { type: 'boolean', default: false, describe: 'connect with TLS' },
  'redis-tls-ca': { type: 'string', normalize: true, describe: 'PEM file of the authority to trust; means TLS' },
  'redis-cluster': { type: 'array', default: [], describe: 'Redis Cluster: some of its nodes as host:port' },
  'redis-sentinels': { type: 'array', default: [], describe: 'sentinels as host:port; they name the master' },
  'redis-sentinel-name': { type: 'string', default: 'mymaster', describe: 'name by which sentinels know the master' },
  'redis-sentinel-password': { type: 'string', secret: true, describe: 'password of the sentinels' },
  'redis-wait': { type: 'boolean', default: false, describe: 'wait for Redis at start in place of failing' },
  'redis-timeout': {
    type: 'number',
    default: 5,
    min: 0.1,
    max: 3600,
    describe:
      'seconds without an answer after which Redis counts as lost; connections are made anew after three times that',
  },
  'redis-lease': {
    type: 'number',
    default: 15,
    min: 1,
    max: 3600,
    describe: 'seconds after which what a dead node had put into sets is gone',
  },
  'redis-buffer': {
    type: 'number',
    default: 8_388_608,
    min: 1_048_576,
    integer: true,
    describe: 'bytes that may be under way to Redis, 2 KiB more for each message; more is not sent, and counted',
  },
  'redis-history': {
    type: 'number',
    default: 1000,
    min: 1,
    integer: true,
    describe: 'entries that each history log keeps',
  },
  'redis-history-ttl': {
    type: 'number',
    default: 86_400,
    min: 0,
    integer: true,
    describe: 'seconds after its last entry that a history log is gone; 0: never',
  },
} as const satisfies OptionSpecs

/** Milliseconds that a stop waits for Redis to forget this node's sets. */
const LAST_WORDS = 500

export type RedisOptions = OptionValues<typeof options>

/**
 * All four capabilities on Redis 6.2 or newer (7 for Redis Cluster), and the way between the nodes of one server.
 *
 * @throws Error when Redis cannot be reached, refuses the password, or is too old.
 */
export async function open({
  options: chosen,
  log,
  instance,
}: {
  readonly options: RedisOptions
  readonly log: Logger
  readonly instance: string
}): Promise<OpenStorage> {
  const key = chosen['redis-key']
  const timeoutMs = chosen['redis-timeout'] * 1000
  const target = targetOf(chosen, warning => log.warn(warning))
  const connection = new Connection(target, {
    log,
    timeoutMs,
    name: `${key}:${instance}`,
    maxPendingBytes: chosen['redis-buffer'],
  })
  await connection.start(chosen['redis-wait'])
  await checkVersion(connection)
  const channels = new Subscriptions(connection, 'plain', log)
  const shards = connection.isCluster ? new Subscriptions(connection, 'sharded', log) : channels
  const canary = new Canary(connection, { channels, shards, log, timeoutMs, channel: `${key}:canary:${instance}` })
  const sets = new LeasedSets(connection, {
    key,
    instance,
    log,
    leaseMs: chosen['redis-lease'] * 1000,
    isReached: () => canary.isSending,
  })
  const close = async () => {
    canary.stop()
    // Redis may be silent, and a stop has no time for it: then the lease ends by itself.
    await Promise.race([sets.close(), sleep(LAST_WORDS, undefined, { ref: false })])
    await connection.close()
  }
  try {
    await canary.start()
    await sets.start()
  } catch (error) {
    await close()
    throw error
  }
  return {
    sets,
    values: new RedisValues(connection, `${key}:value:`),
    history: new RedisHistory(connection, {
      key: `${key}:log:`,
      entries: chosen['redis-history'],
      ttlMs: chosen['redis-history-ttl'] * 1000,
    }),
    bus: new RedisBus(connection, channels, `${key}:`),
    carrier: new RedisCarrier(connection, shards, `${key}:`),
    channels: chosen['redis-channels'],
    ready: () => Object.values(canary.checks).every(Boolean),
    checks: () => canary.checks,
    metrics: () => ({
      ...connection.metrics(),
      canary_age_seconds: canary.ageMs / 1000,
      refused_subscriptions: shards === channels ? channels.refused : channels.refused + shards.refused,
      sets_incomplete: Number(!sets.isComplete),
    }),
    close,
  }
}

/** Better now than at the first command that an old server does not know. */
async function checkVersion(connection: Connection): Promise<void> {
  // A user may be let in and not be told.
  const info = await connection.run('INFO', 'server').catch(() => '')
  const [, version = '', major, minor] = /^redis_version:((\d+)\.(\d+)\S*)/m.exec(String(info)) ?? []
  const [least, needed] = connection.isCluster ? [7, '7 for Redis Cluster'] : [6.2, '6.2']
  if (version === '' || Number(`${major}.${minor}`) >= least) return
  await connection.close()
  throw new Error(`redis at ${connection.label} is version ${version}, this needs ${needed} or newer`)
}
