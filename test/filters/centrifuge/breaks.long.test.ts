import assert from 'node:assert/strict'
import { after, describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import type { RunningServer } from '../../../src/index.ts'
import { ENDPOINT, page } from '../../support/centrifuge.ts'
import { type Launched, launch } from '../../support/cli.ts'
import { type FaultProxy, startFaultProxy } from '../../support/fault-proxy.ts'
import { serve, until } from '../../support/peer.ts'
import { type RedisServer, skipWithoutOwn, startRedis } from '../../support/redis.ts'
import { SECRET, sign } from '../../support/tokens.ts'

const TOPIC = 'chat:1'
const RULE = `${TOPIC} size=300 ttl=5m`
/** Milliseconds between two publications. */
const PACE = 50

interface Scene {
  readonly redis: RedisServer
  /** Between the page and its node. */
  readonly proxy: FaultProxy
  /** The node of the page, another one is there. */
  readonly node: Launched
  /** Events of the page besides publications. */
  events(): readonly string[]
  publish(count: number): Promise<void>
}

interface Break {
  readonly what: string
  readonly fault: (scene: Scene) => Promise<unknown>
  /** What the page saw. */
  readonly events: readonly string[]
  /** Publications that it has missed, and was informed that it has. Default: 0. */
  readonly missed?: number | 'some'
  readonly hasState?: true
  /** Seconds until the first token expires. Default: no token. */
  readonly expires?: number
}

const CAME_BACK = ['= subscribed', '! 1', '= recovered']
const UNNOTICED = ['= subscribed']

const broken =
  (ms: number) =>
  async ({ proxy }: Scene) => {
    proxy.refuse()
    await sleep(ms)
    await proxy.accept()
  }
const missing =
  (count: number) =>
  async ({ proxy, publish }: Scene) => {
    proxy.refuse()
    await publish(count)
    await proxy.accept()
  }

const BREAKS: readonly Break[] = [
  { what: 'the connection is broken for 1 s', fault: broken(1000), events: CAME_BACK },
  { what: 'the connection is broken for 10 s', fault: broken(10_000), events: CAME_BACK },
  { what: 'its node is killed', fault: ({ node }) => node.kill(), events: CAME_BACK },
  {
    what: 'its node is stopped',
    fault: ({ node }) => node.stop(),
    events: ['= subscribed', '! 1', '= recovered'],
  },
  { what: 'Redis restarts, with its data', fault: ({ redis }) => redis.restart(), events: UNNOTICED },
  {
    what: 'Redis does not answer for 3 s',
    fault: async ({ redis }) => {
      redis.pause()
      await sleep(3000)
      redis.resume()
    },
    events: UNNOTICED,
  },
  {
    what: 'Redis does not answer, and the connection breaks',
    fault: async ({ redis, proxy, events }) => {
      redis.pause()
      proxy.cut()
      await until(() => events().includes('error 100'), 'an error')
      redis.resume()
    },
    events: ['= subscribed', '! 1', 'error 100', '= recovered'],
  },
  {
    what: 'messages between the nodes are lost',
    fault: ({ redis }) => redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub'),
    events: UNNOTICED,
  },
  {
    what: 'Redis loses its data: another epoch',
    fault: ({ redis }) => redis.command('FLUSHALL'),
    events: ['= subscribed', '! 2500', '= not recovered'],
    missed: 'some',
  },
  { what: '299 are missed, 300 are kept', fault: missing(299), events: CAME_BACK },
  { what: '301 are missed', fault: missing(301), events: ['= subscribed', '! 1', '= not recovered'], missed: 301 },
  {
    what: '301 are missed, the page has getState',
    fault: missing(301),
    hasState: true,
    events: ['state', '= recovered', '! 1', 'state', '= recovered'],
  },
  {
    what: 'its token expires, and is refreshed',
    fault: ({ events }) => until(() => events().includes('token 2'), 'a refresh'),
    expires: 6,
    events: ['token 1', '= subscribed', 'token 2'],
  },
]

const rows: string[] = []

describe('a page with centrifuge-js, on two nodes', { skip: skipWithoutOwn }, () => {
  after(() => console.log(['| break | what the page saw | missed |', '|---|---|---|', ...rows].join('\n')))
  for (const one of BREAKS) it(`misses nothing without notice: ${one.what}`, t => run(t, one))
})

it('a page whose connection breaks 100 times at random moments misses nothing, and gets nothing twice', async t => {
  const server = await serve(t, { filters: ['streams', 'centrifuge'], streamsRules: [RULE] })
  const proxy = await startFaultProxy({ host: '127.0.0.1', port: Number(new URL(server.url).port) })
  t.after(() => proxy.stop())
  const { sub, sees } = page(t, `ws://127.0.0.1:${proxy.port}`, TOPIC)
  await sees('= subscribed')
  const got: number[] = []
  sub.on('publication', ({ data }) => got.push(data))
  let next = 0
  for (let cut = 0; cut < 100; cut++) {
    for (let pauses = Math.random() * 5; pauses > 0; pauses--) {
      for (let burst = Math.random() * 10; burst > 0; burst--) void server.append(TOPIC, `${next++}`)
      await sleep(Math.random() * 30)
    }
    proxy.cut()
  }
  await until(() => got.at(-1) === next - 1, 'the last publication')
  assert.deepEqual(
    got,
    Array.from({ length: next }, (_, n) => n),
  )
})

async function run(t: TestContext, { what, fault, events, missed = 0, hasState, expires }: Break): Promise<void> {
  const redis = await startRedis({ config: { appendonly: 'yes', appendfsync: 'always' } })
  t.after(() => redis.stop())
  const filters = expires === undefined ? ['streams', 'centrifuge'] : ['jwt', 'streams', 'centrifuge']
  const args = ['-p', '0', '--drain', '1', '-f', ...filters, '--streams-rules', RULE, '--storage', 'redis']
  const env = { FWS_JWT_SECRET: SECRET, FWS_REDIS_URL: redis.url }
  const [node, other] = await Promise.all([launch(t, args, { env }), launch(t, args, { env })])
  const publisher = await serve(t, {
    filters: ['streams'],
    streamsRules: [RULE],
    storage: 'redis',
    redisUrl: redis.url,
  })
  const proxy = await startFaultProxy({ host: '127.0.0.1', port: Number(new URL(node.url).port) })
  t.after(() => proxy.stop())

  /** Goes to the other node when its own has gone. */
  class Socket extends WebSocket {
    constructor() {
      super(`${isGone(node) ? other.url : `ws://127.0.0.1:${proxy.port}`}${ENDPOINT}`)
    }
  }
  const log: string[] = []
  const known = new Set<number>()
  const sent: number[] = []
  let tokens = 0
  const { sub, seen, client } = page(t, 'ws://page', TOPIC, {
    ...(hasState && {
      getState: async () => {
        seen.push('state')
        const { top } = await publisher.read(TOPIC, { from: 'newest', entries: 1, bytes: 1 })
        for (const n of sent) known.add(n)
        return top
      },
    }),
    options: {
      websocket: Socket,
      ...(expires !== undefined && {
        getToken: async () => {
          seen.push(`token ${++tokens}`)
          return sign({ sub: 'ann', exp: Math.floor(Date.now() / 1000) + (tokens === 1 ? expires : 100) })
        },
      }),
    },
  })
  const duplicates: number[] = []
  sub.on('publication', ({ data }) => {
    if (known.has(data) && !hasState) duplicates.push(data)
    known.add(data)
    log.push(`${data}`)
  })
  const seenEvents = () =>
    seen
      .filter(line => !/^\d+ \d+$/.test(line))
      .map(line => line.replace(', publications', ''))
      .filter((line, i, all) => line !== all[i - 1])
  await until(() => seenEvents().some(line => line.startsWith('= ')), 'a subscription')

  let next = 0
  const publish = async (count: number) => {
    for (let i = 0; i < count; i++) await append(publisher, sent, next++)
  }
  let isOver = false
  const isPaced = !/are missed/.test(what)
  const publishing = isPaced ? pace() : publish(1)
  async function pace() {
    while (!isOver) {
      await publish(1)
      await sleep(PACE)
    }
  }
  await until(() => known.size > 0, 'a publication')
  const scene: Scene = {
    redis,
    proxy,
    node,
    publish,
    events: seenEvents,
  }
  await fault(scene)
  await until(() => seenEvents().length >= events.length, `${events}, saw ${seenEvents()}`)
  const before = sent.length
  if (isPaced) await until(() => sent.length >= before + 20, 'more publications')
  isOver = true
  await publishing
  await publish(1)
  await until(() => known.has(next - 1), `the last publication, saw ${seenEvents()}`)
  const lost = sent.filter(n => !known.has(n))
  rows.push(
    `| ${what} | ${seenEvents()
      .map(line => `\`${line}\``)
      .join(' ')} | ${lost.length} of ${sent.length} |`,
  )
  assert.deepEqual(seenEvents(), events)
  assert.ok(missed === 'some' ? lost.length < 100 : lost.length === missed, `${lost.length} missed`)
  assert.deepEqual(duplicates, [])
  assert.deepEqual(
    log,
    [...log].sort((a, b) => Number(a) - Number(b)),
    'order',
  )
  assert.equal(client.state, 'connected')
}

function isGone({ child }: Launched): boolean {
  return child.exitCode !== null || child.signalCode !== null
}

/** Until it is stored; a refused one was not published. */
async function append(publisher: RunningServer, sent: number[], n: number): Promise<void> {
  await publisher.append(TOPIC, `${n}`)
  sent.push(n)
}
