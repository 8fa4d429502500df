import assert from 'node:assert/strict'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { mkdir, rm } from 'node:fs/promises'
import { type AddressInfo, connect, createServer as createTcp, type Socket } from 'node:net'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { createServer, type RunningServer, type ServerOptions } from '../../../src/index.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { collectedLog } from '../../support/log.ts'
import { Peer, until } from '../../support/peer.ts'
import {
  type RedisConfig,
  type RedisServer,
  skipWithoutOwn,
  startRedis,
  startRedisCluster,
} from '../../support/redis.ts'
import { root } from '../../support/root.ts'

const ALL = { listening: true, accepting: true, storage: true, sending: true, receiving: true, writing: true }
const without = (...names: string[]) => ({
  ...ALL,
  storage: false,
  ...Object.fromEntries(names.map(name => [name, false])),
})

interface Node {
  readonly server: RunningServer
  readonly logged: readonly Record<string, unknown>[]
  readonly peer: Peer
  readyz(): Promise<{ status: number; checks: Record<string, boolean> }>
  metric(name: string): Promise<number>
}

async function node(t: TestContext, options: ServerOptions): Promise<Node> {
  const { log, logged } = collectedLog()
  const server = await createServer({
    port: 0,
    drain: 1,
    filters: ['health', 'broadcast'],
    healthPort: 0,
    ...(options.storage === undefined && { storage: 'redis', redisTimeout: 1 }),
    log,
    ...options,
  })
  t.after(() => server.close())
  const health = String(logged.find(({ msg }) => msg === 'health answers')!.url)
  return {
    server,
    logged,
    peer: await Peer.open(server.url),
    readyz: async () => {
      const response = await fetch(`${health}/readyz`)
      return {
        status: response.status,
        checks: ((await response.json()) as { checks: Record<string, boolean> }).checks,
      }
    },
    metric: async name => {
      const text = await (await fetch(`${health}/metrics`)).text()
      return Number(
        text
          .split('\n')
          .find(line => line.startsWith(`${name} `))
          ?.slice(name.length),
      )
    },
  }
}

/** Waits until /readyz and the metrics are exactly these. */
async function becomes({ readyz, metric }: Node, expected: Record<string, boolean>, what: string): Promise<void> {
  let last = ''
  await until(async () => {
    const { status, checks } = await readyz()
    last = `${status} ${JSON.stringify(checks)}`
    return (
      status === (expected.storage ? 200 : 503) && Object.keys(expected).every(name => checks[name] === expected[name])
    )
  }, what).catch(error => {
    throw new Error(`${error.message}; last: ${last}`)
  })
  for (const name of ['sending', 'receiving', 'writing'])
    await until(
      async () => (await metric(`fws_check{check="${name}"}`)) === Number(expected[name]),
      `${what}: metric ${name}`,
    )
}

async function own(t: TestContext, config: RedisConfig = {}): Promise<RedisServer> {
  const redis = await startRedis(Object.keys(config).length > 0 ? { config } : {})
  t.after(() => redis.stop())
  return redis
}

/** Ids of the connections of one node that subscribe, or that do not. */
async function connectionsOf(redis: RedisServer, instance: string, type: 'pubsub' | 'normal'): Promise<string[]> {
  const list = String(await redis.command('CLIENT', 'LIST', 'TYPE', type)).split('\n')
  return list.filter(line => line.includes(`name=${instance} `)).map(line => /^id=(\d+)/.exec(line)![1]!)
}

const namesOf = async (redis: RedisServer) =>
  new Set([...String(await redis.command('CLIENT', 'LIST')).matchAll(/ name=(fws:\S+)/g)].map(([, name]) => name!))

/** A node that notices lost connections only by their end, and the name of its connections. */
async function namedNode(t: TestContext, redis: RedisServer): Promise<{ node: Node; name: string }> {
  const before = await namesOf(redis)
  const one = await node(t, { redisPort: redis.port, redisTimeout: 30 })
  const [name] = [...(await namesOf(redis))].filter(name => !before.has(name))
  return { node: one, name: name! }
}

/** A proxy that can drop all bytes to subscribed connections and keep them open. */
async function startDeafProxy(t: TestContext, upstreamPort: number) {
  const subscribers = new Set<Socket>()
  let accepted = 0
  const proxy = createTcp(client => {
    accepted++
    const upstream = connect(upstreamPort, '127.0.0.1')
    client.on('data', bytes => {
      if (/subscribe/i.test(bytes.toString('latin1'))) subscribers.add(upstream)
    })
    client.pipe(upstream).pipe(client)
    for (const socket of [client, upstream]) {
      socket.on('error', () => {})
      socket.on('close', () => [client, upstream].map(each => each.destroy()))
    }
  }).listen(0, '127.0.0.1')
  await once(proxy, 'listening')
  t.after(() => void proxy.close())
  return {
    port: (proxy.address() as AddressInfo).port,
    get accepted() {
      return accepted
    },
    deafen() {
      for (const upstream of subscribers) upstream.unpipe().resume()
    },
  }
}

const config = (name: string, value: string) => (redis: RedisServer) => redis.command('CONFIG', 'SET', name, value)
const acl = (rule: string) => (redis: RedisServer) => redis.command('ACL', 'SETUSER', 'default', rule)
const folderOf = async (redis: RedisServer) =>
  join(((await redis.command('CONFIG', 'GET', 'dir')) as string[])[1]!, 'dump.rdb')

async function save(redis: RedisServer, status: 'ok' | 'err'): Promise<void> {
  await redis.command('BGSAVE')
  await until(
    async () => String(await redis.command('INFO')).includes(`rdb_last_bgsave_status:${status}`),
    `save: ${status}`,
  )
}

const faults: {
  name: string
  fails: readonly string[]
  reason: RegExp
  config?: RedisConfig
  begin(redis: RedisServer): Promise<unknown>
  end(redis: RedisServer): Promise<unknown>
}[] = [
  {
    name: 'a read-only replica',
    fails: ['writing'],
    reason: /^redis SET: READONLY/,
    begin: redis => redis.command('REPLICAOF', '127.0.0.1', '1'),
    end: redis => redis.command('REPLICAOF', 'NO', 'ONE'),
  },
  {
    name: 'out of memory',
    fails: ['writing'],
    reason: /^redis SET: OOM/,
    config: { 'maxmemory-policy': 'noeviction' },
    begin: config('maxmemory', '1mb'),
    end: config('maxmemory', '0'),
  },
  {
    name: 'a disk that cannot be written',
    fails: ['writing'],
    reason: /^redis SET: MISCONF/,
    config: { save: '3600 1000000' },
    begin: async redis => {
      await mkdir(join(await folderOf(redis), 'x'), { recursive: true })
      await save(redis, 'err')
    },
    end: async redis => {
      await rm(await folderOf(redis), { recursive: true })
      await save(redis, 'ok')
    },
  },
  {
    name: 'too few replicas',
    fails: ['writing'],
    reason: /^redis SET: NOREPLICAS/,
    begin: config('min-replicas-to-write', '1'),
    end: config('min-replicas-to-write', '0'),
  },
  {
    name: 'an ACL without SET',
    fails: ['writing'],
    reason: /^redis SET: NOPERM/,
    begin: acl('-set'),
    end: acl('+set'),
  },
  {
    name: 'an ACL without the keys of the nodes',
    fails: ['writing'],
    reason: /^redis SET: NOPERM/,
    begin: redis => redis.command('ACL', 'SETUSER', 'default', 'resetkeys', '~other:*'),
    end: acl('allkeys'),
  },
  {
    name: 'an ACL without PUBLISH',
    fails: ['sending'],
    reason: /^redis PUBLISH: NOPERM/,
    begin: acl('-publish'),
    end: acl('+publish'),
  },
]

describe('storage redis reports', { skip: skipWithoutOwn }, () => {
  for (const fault of faults) {
    it(`${fault.name}: not ${fault.fails.join(' and ')}, with the reason in the log, and recovers by itself`, async t => {
      const redis = await own(t, fault.config)
      const [one, two] = [await node(t, { redisPort: redis.port }), await node(t, { redisPort: redis.port })]
      await becomes(one, ALL, 'ready')
      await fault.begin(redis)
      await becomes(one, without(...fault.fails), fault.name)
      await until(
        () => one.logged.some(({ level, reason }) => level === 50 && fault.reason.test(String(reason))),
        'a log line',
      )
      if (fault.fails.includes('writing')) {
        // Messages still arrive.
        await until(() => {
          one.server.broadcast('still here')
          return two.peer.received.includes('still here')
        })
      }
      await fault.end(redis)
      await becomes(one, ALL, 'ready again')
      await becomes(two, ALL, 'ready again')
      await until(() => {
        one.server.broadcast('again')
        return two.peer.received.includes('again')
      })
      assert.equal(
        one.logged.filter(({ reason }) => /fws:|canary/.test(String(reason))).length,
        0,
        'no arguments in the log',
      )
    })
  }

  it('ready with the ACL of docs/operations/deployment.md for broadcasts, and both nodes receive messages of each other', async t => {
    const text = readFileSync(join(root, 'docs/operations/deployment.md'), 'utf8')
    const [, commands] = /Broadcasts need at least `([^`]+)`/.exec(text)!
    const redis = await own(t)
    const rules = ['on', '>p', 'resetkeys', '~fws:*', 'resetchannels', '&fws:*', '-@all', ...commands!.split(/\s+/)]
    await redis.command('ACL', 'SETUSER', 'narrow', ...rules)
    const at = { redisPort: redis.port, redisUser: 'narrow', redisPassword: 'p' }
    const [one, two] = [await node(t, at), await node(t, at)]
    await until(() => {
      one.server.broadcast('hello')
      return two.peer.received.includes('hello')
    })
    await becomes(one, ALL, 'ready')
    const denied = [one, two].flatMap(({ logged }) => logged).filter(line => /NOPERM/.test(JSON.stringify(line)))
    assert.deepEqual(denied, [])
  })

  it('each message that Redis refuses is counted at the sender, and logged once a second', async t => {
    const redis = await own(t)
    const [one, two] = [await node(t, { redisPort: redis.port }), await node(t, { redisPort: redis.port })]
    await until(() => {
      one.server.broadcast('known')
      return two.peer.received.includes('known')
    })
    await new Promise(setImmediate)
    // On the same connection, so that all earlier commands have been answered.
    await one.server.publish('other', 'x')
    const since = performance.now()
    await acl('-publish')(redis)
    for (let i = 0; i < 30; i++) {
      one.server.broadcast(`refused ${i}`)
      await new Promise(setImmediate)
    }
    await assert.rejects(async () => one.server.publish('global', 'secret text'), /^Error: redis PUBLISH: NOPERM/)
    await until(() => one.server.counters.nodesUnsent === 30, 'every message counted')
    assert.equal(await one.metric('fws_nodes_unsent_total'), 30)
    assert.equal(one.server.counters.drops['publish failed'], 1)
    assert.ok(one.server.storageMetrics.refused_publishes_total! >= 31)
    assert.equal(one.server.storageMetrics.unanswered_publishes_total, 0)
    const lines = () => one.logged.filter(({ msg }) => msg === 'redis refuses messages, they do not reach other nodes')
    await until(() => lines().reduce((sum, { refused }) => sum + (refused as number), 0) >= 31, 'lines about all')
    const seconds = (performance.now() - since) / 1000
    assert.ok(lines().length <= 1 + seconds, `${lines().length} lines in ${seconds} s`)
    assert.match(String(lines()[0]!.reason), /^redis PUBLISH: NOPERM/)
    assert.doesNotMatch(JSON.stringify(one.logged), /secret text|refused 0/)
    await acl('+publish')(redis)
    await until(() => one.server.ready && two.server.ready)
    one.server.broadcast('whole')
    await until(() => two.peer.received.includes('whole'))
    assert.equal(two.server.counters.nodesLost, 30)
  })

  it('the loss of the subscriber: not receiving, and every published message arrives at the other node', async t => {
    const redis = await own(t)
    const { node: one, name } = await namedNode(t, redis)
    const two = await node(t, { redisPort: redis.port })
    let sent = 0
    const send = () => one.server.broadcast(`${sent++}`)
    for (let kills = 1; kills <= 5; kills++) {
      for (const id of await connectionsOf(redis, name, 'pubsub')) await redis.command('CLIENT', 'KILL', 'ID', id)
      await until(() => {
        send()
        return !one.server.checks.receiving
      }, 'not receiving')
      const { sending, writing } = one.server.checks
      assert.deepEqual([sending, writing, one.server.ready], [true, true, false])
      await until(() => {
        send()
        return one.server.ready && sent >= 5 * kills
      }, 'ready again')
    }
    await until(() => two.peer.received.length === sent, `${sent} messages, got ${two.peer.received.length}`)
    assert.deepEqual(
      two.peer.received,
      Array.from({ length: sent }, (_, i) => `${i}`),
    )
    const { nodesUnsent, nodesOut } = one.server.counters
    assert.deepEqual([nodesUnsent, nodesOut, two.server.counters.nodesLost], [0, sent, 0])
  })

  it('the loss of the command connection: not sending, and every message of the other node arrives', async t => {
    const redis = await own(t)
    const { node: one, name } = await namedNode(t, redis)
    const two = await node(t, { redisPort: redis.port })
    let sent = 0
    const send = () => two.server.broadcast(`${sent++}`)
    for (let kills = 0; kills < 5; kills++) {
      for (const id of await connectionsOf(redis, name, 'normal')) await redis.command('CLIENT', 'KILL', 'ID', id)
      await until(() => {
        send()
        return !one.server.checks.sending
      }, 'not sending')
      assert.equal(one.server.checks.receiving, true)
      await until(() => {
        send()
        return one.server.ready
      }, 'ready again')
    }
    await until(() => one.peer.received.length === sent, `${sent} messages`)
    assert.deepEqual(
      one.peer.received,
      Array.from({ length: sent }, (_, i) => `${i}`),
    )
    assert.equal(one.server.counters.nodesLost, 0)
  })

  it('a subscriber that is silently dead: it alone is replaced, and every published message arrives', async t => {
    const redis = await own(t)
    const subscribers = await startDeafProxy(t, redis.port)
    const one = await node(t, { redisPort: subscribers.port })
    const two = await node(t, { redisPort: redis.port })
    let sent = 0
    const send = () => one.server.broadcast(`${sent++}`)
    subscribers.deafen()
    await until(() => {
      send()
      return !one.server.checks.receiving && one.server.checks.sending === true
    }, 'not receiving, but sending')
    await until(() => {
      send()
      return one.server.ready
    }, 'ready again')
    await until(() => two.peer.received.length === sent, `${sent} messages`)
    assert.equal(subscribers.accepted, 3)
    assert.equal(one.server.counters.nodesUnsent, 0)
  })

  it('a silent Redis: neither sending nor receiving', async t => {
    const redis = await own(t)
    const proxy = await startFaultProxy({ host: '127.0.0.1', port: redis.port })
    t.after(() => proxy.stop())
    const one = await node(t, { redisPort: proxy.port })
    proxy.pause()
    await becomes(one, { ...without('sending', 'receiving', 'writing') }, 'silence')
    proxy.resume()
    await becomes(one, ALL, 'ready again')
  })

  it('memory used up on one master of a Redis Cluster: not writing', async t => {
    const cluster = await startRedisCluster()
    t.after(() => cluster.stop())
    const one = await node(t, { redisCluster: cluster.nodes.map(({ port }) => `127.0.0.1:${port}`) })
    await becomes(one, ALL, 'ready')
    for (const master of cluster.nodes) {
      await config('maxmemory', '1mb')(master)
      await becomes(one, without('writing'), `${master.port} without memory`)
      await config('maxmemory', '0')(master)
      await becomes(one, ALL, 'ready again')
    }
  })
})

describe('storage memory', () => {
  it('is always ready, in all parts', async t => {
    const one = await node(t, { storage: 'memory' })
    assert.deepEqual(await one.readyz(), { status: 200, checks: ALL })
  })
})
