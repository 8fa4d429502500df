// Two nodes and one Redis, 500 clients on each node, every message to everyone but its sender: ours beside Socket.IO with
// its Redis adapter, in one run. `--quick`: a try of a few seconds; `--only fws`: without Socket.IO, which is installed at first use.
import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { Launched } from '../test/kit/cli.ts'
import { until } from '../test/kit/peer.ts'
import { startRedis } from '../test/kit/redis.ts'
import { median, pin, runLoad } from './processes.ts'

const { values } = parseArgs({ options: { quick: { type: 'boolean', default: false }, only: { type: 'string' } } })
const scale = values.quick
  ? { clients: 20, rounds: 1, inflight: [16], warmup: 0.2, seconds: 0.5 }
  : { clients: 500, rounds: Number(process.env.ROUNDS ?? 3), inflight: [1, 16, 64], warmup: 1, seconds: 3 }
const SIZE = 64
const NODES = 2

interface Measured {
  /** Deliveries a second over all clients. */
  readonly rate: number
  /** Milliseconds from the sender on one node to clients of the other. */
  readonly p50: number
  readonly p99: number
  /** CPU seconds for a million deliveries. */
  readonly nodesCpu: number
  readonly redisCpu: number
  /** Share of the time in which the load itself had no pause: near 1 it is what is measured. */
  readonly busy: number
}

const contestants: Readonly<Record<string, (redis: string) => Launched>> = {
  fws: redis => new Launched(['-p', '0', '-f', 'broadcast', '--storage', 'redis', '--redis-url', redis], {}),
  'socket.io': redis => new Launched([redis], { command: [join(import.meta.dirname, 'socketio.mjs')] }),
}

const names = Object.keys(contestants).filter(name => values.only === undefined || name === values.only)
if (names.length === 0) throw new Error(`--only ${values.only}: there are ${Object.keys(contestants).join(' and ')}`)
if (names.includes('socket.io')) install()

/** What users of the package are spared. */
function install(): void {
  if (existsSync(join(import.meta.dirname, 'node_modules'))) return
  const { status } = spawnSync('npm', ['ci'], { cwd: import.meta.dirname, stdio: 'inherit' })
  if (status !== 0) process.exit(1)
}

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
    return await runLoad<Measured>('cluster-load.ts', {
      protocol: name,
      nodes: nodes.map(({ url }) => url).join(','),
      pids: nodes.map(({ child }) => child.pid).join(','),
      redis: redis.pid!,
      clients: scale.clients,
      size: SIZE,
      inflight,
      warmup: scale.warmup,
      seconds: scale.seconds,
    })
  } finally {
    await Promise.all(nodes.map(node => node.kill()))
    await redis.stop()
  }
}

function versions(): string {
  const version = (name: string) => createRequire(import.meta.url)(`${name}/package.json`).version
  const theirs = names.includes('socket.io') ? ['socket.io', '@socket.io/redis-adapter', 'redis'] : []
  return [`Node ${process.versions.node}`, ...theirs.map(name => `${name} ${version(name)}`)].join(', ')
}

console.log(
  `cluster: ${NODES} nodes, one Redis, ${scale.clients} clients a node, ${SIZE} B, sender excluded; median of ${scale.rounds} alternating rounds\n${versions()}`,
)
for (const inflight of scale.inflight) {
  const results: Record<string, Measured[]> = {}
  for (let round = 0; round < scale.rounds; round++)
    for (const name of names) results[name] = [...(results[name] ?? []), await measure(name, inflight)]
  console.log(`${inflight} in flight`)
  const middle = (name: string, key: keyof Measured) => median(results[name]!.map(one => one[key]))
  for (const name of names) {
    const [rate, p50, p99, nodesCpu, redisCpu, busy] = (
      ['rate', 'p50', 'p99', 'nodesCpu', 'redisCpu', 'busy'] as const
    ).map(key => middle(name, key))
    console.log(
      `  ${name.padEnd(9)} ${Math.round(rate!).toLocaleString('en').padStart(10)} deliveries/s, across nodes p50 ${p50!.toFixed(2)} ms p99 ${p99!.toFixed(2)} ms, CPU s a million: nodes ${nodesCpu!.toFixed(2)} Redis ${redisCpu!.toFixed(3)}, load ${Math.round(busy! * 100)}% busy`,
    )
  }
  if (names.length > 1) console.log(`  ratio ${(middle('fws', 'rate') / middle('socket.io', 'rate')).toFixed(1)}`)
}
