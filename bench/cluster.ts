// Two nodes and one Redis, 500 clients per node, each message to all other clients: compared with Socket.IO and its Redis adapter.
// `--quick` takes a few seconds; `--only fws,kept` skips Socket.IO, which is installed at first use; `kept` appends
// the messages to a stream.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Launched } from '../test/support/cli.ts'
import { until } from '../test/support/peer.ts'
import { startRedis } from '../test/support/redis.ts'
import { installPeers } from './install.ts'
import type { Measured } from './load.ts'
import { load, pin } from './processes.ts'
import { median } from './results.ts'

const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false }, only: { type: 'string' } } })
const scale = values.quick
  ? { clients: 20, rounds: 1, inflight: [16], warmup: 0.2, seconds: 0.5 }
  : { clients: 500, rounds: Number(process.env.ROUNDS ?? 3), inflight: [1, 16, 64], warmup: 1, seconds: 3 }
const SIZE = 64
const NODES = 2

const keep = join(import.meta.dirname, 'filters/keep.ts')
const fws = (redis: string, ...filters: string[]) =>
  new Launched(['-p', '0', '-f', 'broadcast', ...filters, '--storage', 'redis', '--redis-url', redis], {})

const contestants: Readonly<Record<string, (redis: string) => Launched>> = {
  fws: redis => fws(redis),
  kept: redis => fws(redis, keep),
  'socket.io': redis => new Launched([redis], { command: [join(import.meta.dirname, 'socketio.mjs')] }),
}

const names = Object.keys(contestants).filter(name => values.only?.split(',').includes(name) ?? true)
if (names.length === 0)
  throw new Error(`--only takes ${Object.keys(contestants).join(' or ')}, received "${values.only}"`)
if (names.includes('socket.io')) installPeers('socket.io')

async function measure(name: string, inflight: number): Promise<Measured> {
  const redis = await startRedis()
  const nodes: Launched[] = []
  try {
    pin(redis.pid!, 0)
    for (let i = 0; i < NODES; i++) nodes.push(contestants[name]!(redis.url))
    for (const node of nodes) {
      pin(node.child.pid!, 0)
      await until(() => node.listening() || node.child.exitCode !== null)
      if (!node.listening()) throw new Error(node.stderr)
    }
    const [measured] = await load({
      dialect: name === 'socket.io' ? 'socket.io' : 'plain',
      urls: nodes.map(({ url }) => url),
      clients: scale.clients,
      rooms: 1,
      audience: 'others',
      size: SIZE,
      check: true,
      paces: [{ inflight }],
      warmup: scale.warmup,
      seconds: scale.seconds,
      watch: { nodes: nodes.map(({ pid }) => pid), redis: [redis.pid!] },
    })
    const { lost, doubled, reordered } = measured!
    if (lost + doubled + reordered > 0) throw new Error(JSON.stringify({ name, lost, doubled, reordered }))
    return measured!
  } finally {
    await Promise.all(nodes.map(node => node.kill()))
    await redis.stop()
  }
}

function versions(): string {
  const version = (name: string) => createRequire(import.meta.url)(`${name}/package.json`).version
  const packages = names.includes('socket.io') ? ['socket.io', '@socket.io/redis-adapter', 'redis'] : []
  return [`Node ${process.versions.node}`, ...packages.map(name => `${name} ${version(name)}`)].join(', ')
}

console.log(
  `cluster: ${NODES} nodes, one Redis, ${scale.clients} clients per node, ${SIZE} B, sender excluded; median of ${scale.rounds} alternating rounds\n${versions()}`,
)
for (const inflight of scale.inflight) {
  const results: Record<string, Measured[]> = {}
  for (let round = 0; round < scale.rounds; round++)
    for (const name of names) results[name] = [...(results[name] ?? []), await measure(name, inflight)]
  console.log(`${inflight} in flight`)
  const middle = (name: string, of: (one: Measured) => number) => median(results[name]!.map(of))
  /** CPU seconds per million deliveries. */
  const cpu = (name: string, process: string) => middle(name, one => one.cpu[process]! / (one.rate / 1e6))
  for (const name of names) {
    console.log(
      `  ${name.padEnd(9)} ${Math.round(middle(name, ({ rate }) => rate))
        .toLocaleString('en')
        .padStart(
          10,
        )} deliveries/s, across nodes p50 ${middle(name, ({ p50 }) => p50).toFixed(2)} ms p99 ${middle(name, ({ p99 }) => p99).toFixed(2)} ms, CPU s per million: nodes ${cpu(name, 'nodes').toFixed(2)} Redis ${cpu(name, 'redis').toFixed(3)}, load ${Math.round(middle(name, ({ busy }) => busy) * 100)}% busy`,
    )
  }
  const rate = ({ rate }: Measured) => rate
  const [first, ...others] = names
  for (const other of others)
    console.log(`  ${first} / ${other}: ${(middle(first!, rate) / middle(other, rate)).toFixed(2)}`)
}
