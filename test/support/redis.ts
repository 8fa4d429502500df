import { until } from './peer.ts'
import { NO_REDIS, redisBinary } from './redis-binary.ts'
import { command, type Reply } from './redis-command.ts'
import { type RedisConfig, type RedisOptions, type RedisServer, startOwn } from './redis-process.ts'

export type { RedisConfig, RedisOptions, RedisServer, RedisTls } from './redis-process.ts'

/** Reason to skip tests with Redis; false if there is a binary or REDIS_URL. */
export const skipWithoutRedis: string | false = redisBinary() === undefined && !process.env.REDIS_URL && NO_REDIS

/** Reason to skip tests that start their own Redis; false if there is a binary. */
export const skipWithoutOwn: string | false = redisBinary() === undefined && NO_REDIS

/** Starts a Redis without persistence on loopback. Without a binary and options it is the server of REDIS_URL, which may have other keys. */
export async function startRedis(options: RedisOptions = {}): Promise<RedisServer> {
  if (skipWithoutOwn === false) return startOwn(options)
  if (Object.keys(options).length > 0 || !process.env.REDIS_URL) throw new Error(skipWithoutOwn)
  return givenRedis(process.env.REDIS_URL!)
}

function givenRedis(url: string): RedisServer {
  const refuse = () => {
    throw new Error(skipWithoutOwn || 'the server of REDIS_URL')
  }
  return {
    port: Number(new URL(url).port || 6379),
    url,
    pid: undefined,
    command: (...args) => command(url, args),
    pause: refuse,
    resume: refuse,
    kill: refuse,
    restart: refuse,
    stop: async () => {},
  }
}

export interface RedisCluster {
  /** Three masters, each with a third of the slots; `restart` restores a killed one with its slots. */
  readonly nodes: readonly RedisServer[]
  readonly urls: readonly string[]
  stop(): Promise<void>
}

/** Starts a Redis Cluster and waits until all nodes report state ok. */
export async function startRedisCluster(): Promise<RedisCluster> {
  const config = { 'cluster-enabled': 'yes', 'cluster-config-file': 'nodes.conf', 'cluster-node-timeout': '5000' }
  const nodes: RedisServer[] = []
  try {
    for (let i = 0; i < 3; i++) nodes.push(await startOwn({ config }))
    for (const [i, node] of nodes.entries()) {
      const [first, end] = [slot(i), slot(i + 1)]
      await node.command('CLUSTER', 'ADDSLOTS', ...Array.from({ length: end - first }, (_, n) => String(first + n)))
      await node.command('CLUSTER', 'SET-CONFIG-EPOCH', String(i + 1))
    }
    for (const node of nodes.slice(1)) await node.command('CLUSTER', 'MEET', '127.0.0.1', String(nodes[0]!.port))
    await until(async () => (await Promise.all(nodes.map(isComplete))).every(Boolean), 'a complete cluster')
  } catch (error) {
    await stopAll(nodes)
    throw error
  }
  return { nodes, urls: nodes.map(({ url }) => url), stop: () => stopAll(nodes) }
}

const slot = (third: number) => Math.floor((16_384 * third) / 3)

async function isComplete(node: RedisServer): Promise<boolean> {
  const info = String(await node.command('CLUSTER', 'INFO'))
  return info.includes('cluster_state:ok') && info.includes('cluster_known_nodes:3')
}

export interface Address {
  readonly host: string
  readonly port: number
}

export interface SentinelSet {
  /** The name of the master in the sentinels. */
  readonly name: string
  readonly sentinels: readonly Address[]
  /** The initial roles. */
  readonly master: RedisServer
  readonly replica: RedisServer
  /** The master by the sentinels. */
  currentMaster(): Promise<Address>
  /** Kills the current master, and waits until the other server is the master. The killed one may `restart`, and is a replica after 10 s. */
  failover(): Promise<Address>
  stop(): Promise<void>
}

/**
 * Starts a master, its replica, and three connected sentinels.
 *
 * @param downAfter - milliseconds without an answer after which a master counts as down.
 */
export async function startSentinelSet(downAfter = 2000): Promise<SentinelSet> {
  const name = 'fws'
  const all: RedisServer[] = []
  const add = async (config: RedisConfig, ...args: string[]) => {
    const server = await startOwn({ config }, args)
    all.push(server)
    return server
  }
  try {
    const master = await add({})
    const replica = await add({ replicaof: `127.0.0.1 ${master.port}` })
    // A sentinel asks a master for its replicas at its start, and then only after 10 s.
    await until(async () => String(await replica.command('INFO')).includes('master_link_status:up'), 'a replica')
    const monitor = {
      'sentinel monitor': `${name} 127.0.0.1 ${master.port} 2`,
      'sentinel down-after-milliseconds': `${name} ${downAfter}`,
      'sentinel failover-timeout': `${name} 2000`,
    }
    const sentinels = [
      await add(monitor, '--sentinel'),
      await add(monitor, '--sentinel'),
      await add(monitor, '--sentinel'),
    ]
    await until(async () => (await Promise.all(sentinels.map(seesAll))).every(Boolean), 'sentinels')
    return new Sentinels(name, sentinels, master, replica)
  } catch (error) {
    await stopAll(all)
    throw error
  }

  async function seesAll(sentinel: RedisServer): Promise<boolean> {
    const fields = fieldsOf(await sentinel.command('SENTINEL', 'MASTER', name))
    return (
      fields.get('num-slaves') === '1' && fields.get('num-other-sentinels') === '2' && fields.get('flags') === 'master'
    )
  }
}

/** Fields of an array of alternating names and values. */
function fieldsOf(reply: Reply): ReadonlyMap<string, string> {
  const fields = reply as string[]
  return new Map(fields.flatMap((field, i) => (i % 2 === 0 ? [[field, fields[i + 1]!] as const] : [])))
}

class Sentinels implements SentinelSet {
  readonly name: string
  readonly sentinels: readonly Address[]
  readonly master: RedisServer
  readonly replica: RedisServer
  readonly #processes: readonly RedisServer[]

  constructor(name: string, processes: readonly RedisServer[], master: RedisServer, replica: RedisServer) {
    this.name = name
    this.sentinels = processes.map(({ port }) => ({ host: '127.0.0.1', port }))
    this.master = master
    this.replica = replica
    this.#processes = processes
  }

  async currentMaster(): Promise<Address> {
    const [host, port] = await Promise.any(this.#processes.map(sentinel => this.#masterOf(sentinel)))
    return { host: host!, port: Number(port) }
  }

  async #masterOf(sentinel: RedisServer): Promise<readonly string[]> {
    return (await sentinel.command('SENTINEL', 'GET-MASTER-ADDR-BY-NAME', this.name)) as string[]
  }

  async failover(): Promise<Address> {
    const { port } = await this.currentMaster()
    const [old, next] = port === this.master.port ? [this.master, this.replica] : [this.replica, this.master]
    await old.kill()
    // A sentinel that was paused itself waits for 30 s.
    const isDone = async () => {
      const named = await Promise.all(this.#processes.map(sentinel => this.#masterOf(sentinel)))
      // A server drops its clients while it is promoted.
      const [role] = (await next.command('ROLE').catch(() => [])) as string[]
      return role === 'master' && named.every(([, port]) => Number(port) === next.port)
    }
    await until(isDone, `port ${next.port} as master`, 90_000)
    return { host: '127.0.0.1', port: next.port }
  }

  async stop(): Promise<void> {
    await stopAll([...this.#processes, this.master, this.replica])
  }
}

async function stopAll(servers: readonly RedisServer[]): Promise<void> {
  await Promise.all(servers.map(server => server.stop()))
}
