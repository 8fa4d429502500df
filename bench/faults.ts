// Counts lost, duplicate and reordered messages between two nodes during faults of Redis, the network or a node, with real processes,
// a real Redis, and a proxy between it and each node. Prints a table for docs/reference/delivery.md. `--only NAME` runs one row.
import { setTimeout as sleep } from 'node:timers/promises'
import { parseArgs } from 'node:util'
import { Launched } from '../test/support/cli.ts'
import { type FaultProxy, startFaultProxy } from '../test/support/fault-proxy.ts'
import { KeptPeer } from '../test/support/kept-peer.ts'
import { Peer, until } from '../test/support/peer.ts'
import {
  type RedisConfig,
  type RedisServer,
  type SentinelSet,
  startRedis,
  startSentinelSet,
} from '../test/support/redis.ts'

/** Messages per second. */
const RATE = 200
/** Clients per node; one client of the first node is the sender. */
const CLIENTS = 3
/** Milliseconds before the fault, and after the recovery: longer than --redis-timeout. */
const CALM = 1500
/** Milliseconds for the recovery. */
const DEADLINE = 20_000
/** Greatest age of the last message, in milliseconds, for a recovered state. */
const FRESH = 500

interface Scene {
  readonly redis: RedisServer
  /** Between each node and Redis. */
  readonly proxies: readonly FaultProxy[]
  readonly sentinels: SentinelSet | undefined
  /** Sends an additional message with `bytes` of padding. */
  sendLarge(bytes: number): void
  /** Kills the node without the sender. */
  killNode(): Promise<void>
  /** Starts it again, without waiting. */
  startNode(): void
  /** Its clients connect to the other node. */
  moveClients(): Promise<void>
}

const AOF: RedisConfig = { appendonly: 'yes', appendfsync: 'always' }
/** Redis of the other faults keeps its data in memory only. */
const configs: Readonly<Record<string, RedisConfig>> = { 'Redis killed, back with its data after 2 s': AOF }

/** Each resolves at the end of the fault. */
const faults: Readonly<Record<string, (scene: Scene) => Promise<unknown>>> = {
  none: () => sleep(2000),
  'Redis killed, back empty after 2 s': async ({ redis }) => {
    await redis.kill()
    await sleep(2000)
    await redis.restart()
  },
  'Redis killed, back with its data after 2 s': async ({ redis }) => {
    await redis.kill()
    await sleep(2000)
    await redis.restart()
  },
  'Redis back from a snapshot of 1 s before': async ({ redis }) => {
    await redis.command('SAVE')
    await sleep(1000)
    await redis.restart()
  },
  'Redis refuses PUBLISH for 1 s': async ({ redis }) => {
    await redis.command('ACL', 'SETUSER', 'default', '-publish')
    await sleep(1000)
    await redis.command('ACL', 'SETUSER', 'default', '+publish')
  },
  'subscriber connections killed': ({ redis }) => redis.command('CLIENT', 'KILL', 'TYPE', 'pubsub'),
  'Redis paused 10 s': async ({ redis }) => {
    redis.pause()
    await sleep(10_000)
    redis.resume()
  },
  'TCP cut': async ({ proxies }) => {
    for (const proxy of proxies) proxy.cut()
  },
  'TCP refused 5 s': async ({ proxies }) => {
    for (const proxy of proxies) proxy.refuse()
    await sleep(5000)
    await Promise.all(proxies.map(proxy => proxy.accept()))
  },
  'half-open 20 s': async ({ proxies }) => {
    for (const proxy of proxies) proxy.halfOpen()
    await sleep(20_000)
    for (const proxy of proxies) proxy.resume()
  },
  'delay 200 ms for 5 s': async ({ proxies }) => {
    for (const proxy of proxies) proxy.delay(200)
    await sleep(5000)
    for (const proxy of proxies) proxy.delay(0)
  },
  'reply lost': async ({ proxies: [ofSender] }) => {
    ofSender!.dropReplies()
    await sleep(500)
    ofSender!.resume()
  },
  'Redis cuts slow listeners for 2 s': async ({ redis, sendLarge }) => {
    const limit = 'client-output-buffer-limit'
    await redis.command('CONFIG', 'SET', limit, 'pubsub 32kb 16kb 1')
    for (let i = 0; i < 8; i++) {
      sendLarge(65_536)
      await sleep(250)
    }
    await redis.command('CONFIG', 'SET', limit, 'pubsub 32mb 8mb 60')
  },
  'node killed, started again after 1 s': async ({ killNode, startNode }) => {
    await killNode()
    await sleep(1000)
    startNode()
  },
  'node killed, its clients move to the other': async ({ killNode, moveClients }) => {
    await killNode()
    await moveClients()
  },
  'Sentinel failover': ({ sentinels }) => sentinels!.failover(),
  'Sentinel failover, the replica is 1 s behind': async ({ sentinels }) => {
    await sentinels!.replica.command('REPLICAOF', '127.0.0.1', '1')
    await sleep(1000)
    await sentinels!.failover()
  },
}

/** A connection, and the number of the first message that it must get. */
interface Session {
  readonly peer: Peer
  readonly from: number
}

interface Row {
  readonly fault: string
  readonly sent: number
  /** Messages received by all clients of the node of the sender. */
  readonly local: number
  readonly localLost: number
  /** Messages received by all connected clients of the other node. */
  readonly remote: number
  readonly lost: number
  /** Counts of the nodes: not sent, not received, sent without a reply (may have arrived; canaries count too). */
  readonly counted: readonly number[]
  readonly duplicated: number
  readonly reordered: number
  /** Of the messages on the kept topic: those that a client missed and that were not refused, and whether it was informed. */
  readonly missed: number
  readonly isInformed: boolean
  /** Of the messages on the kept topic: those that waited for the storage in vain, counted by the sender's node. */
  readonly refused: number
  /** Seconds; `undefined` after the deadline. */
  readonly recovered: number | undefined
}

async function measure(fault: string): Promise<Row> {
  const undo: (() => unknown)[] = []
  try {
    return await withScene(fault, undo)
  } finally {
    for (const step of undo.reverse()) await step()
  }
}

async function withScene(fault: string, undo: (() => unknown)[]): Promise<Row> {
  const sentinels = fault.startsWith('Sentinel') ? await startSentinelSet(500) : undefined
  const redis = sentinels?.master ?? (await startRedis({ config: configs[fault] ?? {} }))
  undo.push(() => (sentinels ?? redis).stop())
  const proxies: FaultProxy[] = []
  const nodes: Launched[] = []
  const startNode = (i: number) => {
    const where =
      sentinels === undefined
        ? ['--redis-url', `redis://127.0.0.1:${proxies[i]!.port}`]
        : ['--redis-sentinels', ...sentinels.sentinels.map(addressOf), '--redis-sentinel-name', sentinels.name]
    const what = [
      '-p',
      '0',
      '-f',
      'health',
      './test/support/filters/kept.ts',
      'broadcast',
      '--health-port',
      '0',
      '--storage',
      'redis',
    ]
    const node = new Launched([...what, '--redis-timeout', '1', ...where], {})
    nodes[i] = node
    undo.push(() => node.kill())
  }
  for (const i of [0, 1]) {
    proxies[i] = await startFaultProxy({ host: '127.0.0.1', port: redis.port })
    undo.push(() => proxies[i]!.stop())
    startNode(i)
  }
  for (const node of nodes) await until(() => node.listening(), `a node, got ${node.stderr}`)

  let sent = 0
  const openAll = (node: Launched): Promise<Session[]> =>
    Promise.all(Array.from({ length: CLIENTS }, async () => ({ peer: await Peer.open(node.url), from: sent })))
  const [sender, ...locals] = await openAll(nodes[0]!)
  /** Includes closed ones. */
  const remotes = await openAll(nodes[1]!)
  let connected = remotes
  const keptSender = await KeptPeer.open(nodes[0]!.url)
  const keptPeers = await Promise.all(nodes.flatMap(({ url }) => [KeptPeer.open(url), KeptPeer.open(url)]))
  const moveKept = (url: string) => Promise.all(keptPeers.slice(2).map(peer => peer.move(url)))
  undo.push(() => {
    for (const peer of [keptSender, ...keptPeers]) peer.terminate()
  })
  undo.push(() => {
    for (const { peer } of [sender!, ...locals, ...remotes]) peer.ws.terminate()
  })

  const sentAt: number[] = []
  const send = (padding = '') => {
    sentAt.push(performance.now())
    keptSender.send(`${sent}`)
    sender!.peer.send(`${sent++} ${padding}`)
  }
  const start = performance.now()
  let large = 0
  const sending = setInterval(() => {
    while (sent - large < ((performance.now() - start) / 1000) * RATE) send()
  }, 1000 / RATE)
  undo.push(() => clearInterval(sending))

  let reopening: Promise<unknown> = Promise.resolve()
  const scene: Scene = {
    redis,
    proxies,
    sentinels,
    sendLarge: bytes => {
      large++
      send('x'.repeat(bytes))
    },
    killNode: async () => {
      await nodes[1]!.kill()
      await Promise.all(remotes.map(({ peer }) => peer.end()))
      connected = []
    },
    startNode: () => {
      startNode(1)
      reopening = until(() => nodes[1]!.listening(), 'the node again').then(async () => {
        connected = await openAll(nodes[1]!)
        remotes.push(...connected)
        await moveKept(nodes[1]!.url)
      })
      // Awaited after the fault.
      reopening.catch(() => {})
    },
    moveClients: async () => {
      connected = await openAll(nodes[0]!)
      remotes.push(...connected)
      await moveKept(nodes[0]!.url)
    },
  }
  await sleep(CALM)
  await faults[fault]!(scene)
  const ended = performance.now()
  const isRecovered = async () =>
    connected.length > 0 &&
    connected.every(
      ({ peer }) => (sentAt[numberOf(peer.received.at(-1))] ?? 0) > Math.max(ended, performance.now() - FRESH),
    ) &&
    (await Promise.all(nodes.filter(isAlive).map(isReady))).every(Boolean)
  const recovered = await stable(isRecovered)
  await reopening
  clearInterval(sending)
  const hasLast = ({ peer }: Session) => numberOf(peer.received.at(-1)) === sent - 1
  await until(() => [...locals, ...connected].every(hasLast), 'the last message', 2000).catch(() => {})

  // Entries may wait for the storage.
  const hasAll = ({ payloads }: KeptPeer) => Number(payloads.at(-1)) === sent - 1
  await until(() => keptPeers.every(hasAll), 'the last entry', DEADLINE).catch(() => {})

  keptSender.send('?')
  // Clients of the kept topic also get the broadcasts.
  const answer = () => keptSender.live.find(message => message.startsWith('unsent '))
  await until(() => answer() !== undefined, 'the number of refused entries')
  const refused = Number(answer()!.slice('unsent '.length))

  const verdicts = { local: locals.map(one => judge(one, sent)), remote: remotes.map(one => judge(one, sent)) }
  const all = [...verdicts.local, ...verdicts.remote]
  const lost = new Set(verdicts.remote.flatMap(({ missing }) => missing))
  const counted = await Promise.all(nodes.filter(isAlive).map(countsOf))
  return {
    fault,
    sent,
    local: Math.min(...verdicts.local.map(({ seen }) => seen.size)),
    remote: new Set(verdicts.remote.flatMap(({ seen }) => [...seen].filter(n => !lost.has(n)))).size,
    localLost: new Set(verdicts.local.flatMap(({ missing }) => missing)).size,
    lost: lost.size,
    counted: COUNTED.map((_, i) => counted.reduce((sum, counts) => sum + counts[i]!, 0)),
    // The sender gets no message of its own, unless the other node returns it.
    missed: Math.max(0, ...keptPeers.map(({ payloads }) => sent - new Set(payloads).size - refused)),
    refused,
    isInformed: keptPeers.every(({ losses }) => losses.length > 0),
    duplicated: all.reduce((sum, { duplicated }) => sum + duplicated, sender!.peer.received.length),
    reordered: all.reduce(
      (sum, { reordered }) => sum + reordered,
      keptPeers.reduce((sum, { violations }) => sum + violations.length, 0),
    ),
    recovered: recovered === undefined ? undefined : Math.max(0, recovered - ended) / 1000,
  }
}

function addressOf({ host, port }: { host: string; port: number }): string {
  return `${host}:${port}`
}

function numberOf(message: string | Buffer | undefined): number {
  return Number.parseInt(String(message), 10)
}

/** The time from which on the condition held; `undefined` after the deadline. */
async function stable(condition: () => Promise<boolean>): Promise<number | undefined> {
  const deadline = performance.now() + DEADLINE
  let since: number | undefined
  while (performance.now() < deadline) {
    const asked = performance.now()
    since = (await condition()) ? (since ?? asked) : undefined
    if (since !== undefined && asked - since > CALM) return since
    await sleep(20)
  }
  return undefined
}

/** A closed connection must have all messages up to its last one. */
function judge({ peer, from }: Session, sent: number) {
  const seen = new Set<number>()
  let highest = -1
  let duplicated = 0
  let reordered = 0
  for (const n of peer.received.map(numberOf)) {
    if (seen.has(n)) duplicated++
    else if (n < highest) reordered++
    seen.add(n)
    highest = Math.max(highest, n)
  }
  const to = peer.closed === undefined ? sent : highest + 1
  const missing: number[] = []
  for (let n = from; n < to; n++) if (!seen.has(n)) missing.push(n)
  return { seen, missing, duplicated, reordered }
}

function isAlive({ child }: Launched): boolean {
  return child.exitCode === null && child.signalCode === null
}

function healthOf(node: Launched): string {
  return String(node.logged().find(({ msg }) => msg === 'health answers')?.url)
}

async function isReady(node: Launched): Promise<boolean> {
  return fetch(`${healthOf(node)}/readyz`).then(
    ({ status }) => status === 200,
    () => false,
  )
}

const COUNTED = ['fws_nodes_unsent_total', 'fws_nodes_lost_total', 'fws_storage_unanswered_publishes_total']

async function countsOf(node: Launched): Promise<readonly number[]> {
  const text = await (await fetch(`${healthOf(node)}/metrics`)).text()
  return COUNTED.map(name => Number(new RegExp(`^${name} (\\d+)$`, 'm').exec(text)?.[1]))
}

function wrongWith({
  missed,
  isInformed,
  localLost,
  lost,
  counted,
  duplicated,
  reordered,
  recovered,
}: Row): readonly string[] {
  const [unsent, notReceived, unanswered] = counted as [number, number, number]
  // Both nodes may count the same loss; one of them must count all.
  const known = Math.max(notReceived, unsent + unanswered)
  return [
    localLost > 0 && `${localLost} messages lost on the node of the sender`,
    duplicated > 0 && `${duplicated} duplicated`,
    reordered > 0 && `${reordered} reordered`,
    missed > 0 && !isInformed && `${missed} missed on the kept topic without notice`,
    lost > known && `${lost} lost, ${known} counted`,
    recovered === undefined && `not recovered within ${DEADLINE / 1000} s`,
  ].filter(problem => problem !== false)
}

async function redisVersion(): Promise<string> {
  const redis = await startRedis()
  try {
    return /redis_version:(\S+)/.exec(String(await redis.command('INFO', 'server')))![1]!
  } finally {
    await redis.stop()
  }
}

const { values } = parseArgs({ options: { only: { type: 'string' } } })
const { only } = values
const chosen = Object.keys(faults).filter(name => only === undefined || name.startsWith(only))
if (chosen.length === 0)
  throw new Error(`--only takes the beginning of ${Object.keys(faults).join('; ')}, received "${only}"`)
const date = new Date().toISOString().slice(0, 10)
console.log(
  `${date}, Node ${process.versions.node}, Redis ${await redisVersion()}, ${RATE} messages per second, \`--redis-timeout 1\`:\n`,
)
console.log(
  '| fault | sent | delivered local | delivered remote | lost remote | counted: unsent + missed + unanswered | duplicated | reordered | missed after healing, on a kept topic | seconds to recover |',
)
console.log('|---|---|---|---|---|---|---|---|---|---|')
const problems: string[] = []
for (const fault of chosen) {
  const row = await measure(fault).catch(error => {
    problems.push(`${fault}: ${error.message}`)
  })
  if (row === undefined) continue
  const { sent, local, remote, lost, counted, duplicated, reordered, missed, isInformed, refused, recovered } = row
  const cells = [
    fault,
    sent,
    local,
    remote,
    lost,
    counted.join(' + '),
    duplicated,
    reordered,
    `${missed}${isInformed ? ', informed' : ''}${refused > 0 ? `, ${refused} refused` : ''}`,
    recovered?.toFixed(1) ?? 'no',
  ]
  console.log(`| ${cells.join(' | ')} |`)
  problems.push(...wrongWith(row).map(problem => `${fault}: ${problem}`))
}
for (const problem of problems) console.error(problem)
if (problems.length > 0) process.exitCode = 1
