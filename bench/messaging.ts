// Requests per second of the client library to the filter `messaging`, compared with acknowledgements of Socket.IO. After a build:
// `node --import tsx bench/messaging.ts`; `--only ours` omits Socket.IO, which is installed at first use. Servers and clients are
// separate processes, each answer is checked, rounds alternate; medians. Requests of the client library have a timeout, those of
// Socket.IO have none.
import { createRequire } from 'node:module'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { installPeers } from './install.ts'
import type { Called, Job } from './messaging-caller.ts'
import { LOAD_CORE, processorTime, runScript, withServer } from './processes.ts'
import { median } from './results.ts'

const { values: chosen } = parseArgs({
  options: {
    only: { type: 'string' },
    rounds: { type: 'string', default: '3' },
    seconds: { type: 'string', default: '4' },
  },
})
const seconds = Number(chosen.seconds)

interface Contestant {
  readonly library: Job['library']
  readonly scheme: 'ws' | 'tcp'
  readonly server: readonly string[]
}

interface Sample extends Called {
  /** CPU microseconds of the server per answer. */
  readonly serverCost: number
}

const root = join(import.meta.dirname, '..')
const SOCKET_IO = 'Socket.IO'

function ours(scheme: Contestant['scheme'], ...options: string[]): Contestant {
  const filter = ['-f', join(root, 'bench/filters/sums.ts')]
  const server = [join(root, 'dist/bin/fws-server.js'), '-p', '0', ...filter, '--messaging-port', '0', ...options]
  return { library: 'ours', scheme, server }
}

const contestants: Readonly<Record<string, Contestant>> = {
  TCP: ours('tcp'),
  'TCP, --messaging-resume': ours('tcp', '--messaging-resume'),
  WebSocket: ours('ws'),
  'WebSocket, --messaging-resume': ours('ws', '--messaging-resume'),
  [SOCKET_IO]: { library: 'socket.io', scheme: 'ws', server: [join(root, 'bench/servers/socketio-sums.mjs')] },
}

function measure({ library, scheme, server }: Contestant, inFlight: number): Promise<Sample> {
  return withServer(
    [process.execPath, ...server],
    async ({ url, pid }) => {
      const job: Job = { library, url, inFlight, warmup: seconds / 4, seconds }
      const before = processorTime(pid)
      const called = await runScript<Called>('messaging-caller.ts', [JSON.stringify(job)], LOAD_CORE)
      return { ...called, serverCost: (processorTime(pid) - before) / called.total }
    },
    scheme,
  )
}

function versions(names: readonly string[]): string {
  const version = (name: string) => createRequire(import.meta.url)(`${name}/package.json`).version
  const socketIo = names.includes(SOCKET_IO) ? [`Socket.IO ${version('socket.io')}`] : []
  return [`Node ${process.versions.node}`, ...socketIo].join(', ')
}

const names = Object.keys(contestants).filter(name => chosen.only !== 'ours' || name !== SOCKET_IO)
if (names.includes(SOCKET_IO)) installPeers('socket.io-client')
console.log(`requests, ${chosen.rounds} alternating rounds of ${seconds} s, medians; ${versions(names)}`)
for (const inFlight of [1, 100]) {
  const samples: Record<string, Sample[]> = {}
  for (let round = 0; round < Number(chosen.rounds); round++)
    for (const name of names) {
      samples[name] ??= []
      samples[name].push(await measure(contestants[name]!, inFlight))
    }
  console.log(`${inFlight} in flight`)
  const middle = (name: string, of: (sample: Sample) => number) => median(samples[name]!.map(of))
  const rate = ({ rate }: Sample) => rate
  for (const name of names) {
    const rates = samples[name]!.map(({ rate }) => rate.toFixed(0)).join(' ')
    const cost = `µs per request: server ${middle(name, ({ serverCost }) => serverCost).toFixed(0)}, client ${middle(name, ({ cost }) => cost).toFixed(0)}`
    const ratio = samples[SOCKET_IO] && `, ${(middle(name, rate) / middle(SOCKET_IO, rate)).toFixed(1)} times Socket.IO`
    console.log(`  ${name}: ${middle(name, rate).toFixed(0)} requests/s (${rates}), ${cost}${ratio ?? ''}`)
  }
}
