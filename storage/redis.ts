import { setTimeout as sleep } from 'node:timers/promises'
import type { Logger, OpenStorage } from 'filtered-websocket'
import { RedisBus } from './redis/bus.ts'
import { Canary } from './redis/canary.ts'
import { RedisCarrier } from './redis/carrier.ts'
import { Connection } from './redis/connection.ts'
import { options, type RedisOptions } from './redis/options.ts'
import { LeasedSets } from './redis/sets.ts'
import { RedisStreams } from './redis/streams.ts'
import { Subscriptions } from './redis/subscriptions.ts'
import { targetOf } from './redis/target.ts'
import { RedisValues } from './redis/values.ts'

export { options, type RedisOptions }

/** Milliseconds for a stop to remove this node's members from Redis. */
const CLOSE_TIMEOUT = 500

/**
 * Opens a storage with all capabilities and a carrier, on Redis 6.2 or newer (7 for Redis Cluster).
 *
 * @throws Error if Redis is not reachable, refuses the credentials, or is too old.
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
  const streams = new RedisStreams(connection, shards, {
    key: `${key}:stream:`,
    log,
    isReady: () => canary.isAnswering,
  })
  const sets = new LeasedSets(connection, {
    key,
    instance,
    log,
    leaseMs: chosen['redis-lease'] * 1000,
    isReachable: () => canary.isSending,
  })
  const close = async () => {
    canary.stop()
    // If Redis does not answer in time, the lease expires.
    await Promise.race([sets.close(), sleep(CLOSE_TIMEOUT, undefined, { ref: false })])
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
    streams,
    bus: new RedisBus(connection, channels, `${key}:`),
    carrier: new RedisCarrier(connection, shards, `${key}:`),
    channels: chosen['redis-channels'],
    ready: () => Object.values(canary.checks).every(Boolean),
    checks: () => canary.checks,
    metrics: () => ({
      ...connection.metrics(),
      ...streams.metrics(),
      canary_age_seconds: canary.ageMs / 1000,
      refused_subscriptions: shards === channels ? channels.refused : channels.refused + shards.refused,
      sets_incomplete: Number(!sets.isComplete),
    }),
    close,
  }
}

/** Refuses an old server at the start, before a command fails later. */
async function checkVersion(connection: Connection): Promise<void> {
  // The ACL may forbid INFO.
  const info = await connection.run('INFO', 'server').catch(() => '')
  const [, version = '', major, minor] = /^redis_version:((\d+)\.(\d+)\S*)/m.exec(String(info)) ?? []
  const [least, needed] = connection.isCluster ? [7, '7 for Redis Cluster'] : [6.2, '6.2']
  if (version === '' || Number(`${major}.${minor}`) >= least) return
  await connection.close()
  throw new Error(`redis at ${connection.label} is version ${version}, this needs ${needed} or newer`)
}
