// Calls per second, and MB per second in replies of 1 MB, of filter `wslink`, compared with wslink (Python). Needs a build:
// `node --import tsx bench/wslink.ts --python CLONE --interpreter VENV/bin/python`, with a clone of Kitware/wslink and an environment
// made by `python3 -m venv VENV && VENV/bin/pip install aiohttp msgpack`; it needs aiohttp 3.9, Debian 12 has 3.8. The load is a
// client with less overhead than the official one, so that the servers are the bottleneck. Medians of alternating rounds.
import { once } from 'node:events'
import { join, resolve } from 'node:path'
import { parseArgs } from 'node:util'
import { decode, encode } from '@msgpack/msgpack'
import { WebSocket } from 'ws'
import { pin, processorTime, withServer } from './processes.ts'
import { median } from './results.ts'
import { Caller } from './wslink-caller.ts'

const SECRET = 'bench'
const IMAGE = 1_000_000

const { values: chosen } = parseArgs({
  options: {
    python: { type: 'string' },
    interpreter: { type: 'string', default: 'python3' },
    rounds: { type: 'string', default: '5' },
    seconds: { type: 'string', default: '4' },
  },
})
const seconds = Number(chosen.seconds)

interface Row {
  readonly name: string
  readonly method: string
  readonly args: readonly unknown[]
  readonly inFlight: number
  readonly of: 'answers' | 'megabytes'
}

const rows: readonly Row[] = [
  { name: 'calls/s, 1 in flight', method: 'demo.add', args: [1, 2], inFlight: 1, of: 'answers' },
  { name: 'calls/s, 32 in flight', method: 'demo.add', args: [1, 2], inFlight: 32, of: 'answers' },
  { name: 'MB/s of 1 MB answers, 1 in flight', method: 'demo.image', args: [], inFlight: 1, of: 'megabytes' },
  { name: 'MB/s of 1 MB answers, 8 in flight', method: 'demo.image', args: [], inFlight: 8, of: 'megabytes' },
]

const root = join(import.meta.dirname, '..')
const procedures = join(root, 'bench/filters/procedures.ts')
const servers: Record<string, readonly string[]> = {
  ours: [
    process.execPath,
    join(root, 'dist/bin/fws-server.js'),
    '-p',
    '0',
    '-f',
    procedures,
    '--wslink-secret',
    SECRET,
  ],
}
if (chosen.python !== undefined) {
  const script = join(root, 'bench/servers/wslink-original.py')
  servers.python = ['env', `PYTHONPATH=${join(resolve(chosen.python), 'src')}`, chosen.interpreter, script]
}

interface Sample {
  readonly rate: number
  /** CPU microseconds of the server per reply, which depends less on other processes. */
  readonly cost: number
}

/** Measures all rows of a server. */
function measure(command: readonly string[]): Promise<readonly Sample[]> {
  return withServer(command, async ({ url, pid }) => {
    await check(url)
    const samples: Sample[] = []
    for (const { method, args, inFlight, of } of rows) {
      const caller = await Caller.open(url, SECRET)
      const before = processorTime(pid)
      const rate = await caller.rate(method, args, inFlight, seconds / 4, seconds)
      samples.push({ rate: rate[of], cost: (processorTime(pid) - before) / rate.total })
      caller.destroy()
    }
    return samples
  })
}

/** Verifies the replies. */
async function check(url: string): Promise<void> {
  const socket = new WebSocket(`${url}/ws`, { perMessageDeflate: false })
  await once(socket, 'open')
  const ask = async (id: string, method: string, args: readonly unknown[]) => {
    const message = encode({ wslink: '1.0', id, method, args, kwargs: {} })
    const head = Buffer.alloc(12)
    head.writeUInt32LE(message.length, 8)
    socket.send(Buffer.concat([head, message]))
    const [answer] = (await once(socket, 'message')) as [Buffer]
    return (decode(answer.subarray(12)) as { result: unknown }).result
  }
  await ask('system:c0:0', 'wslink.hello', [{ secret: SECRET }])
  const sum = await ask('rpc:check:0', 'demo.add', [1, 2])
  const image = await ask('rpc:check:1', 'demo.image', [])
  if (sum !== 3 || (image as Uint8Array).length !== IMAGE) throw new Error(`wrong replies: ${sum}, ${image}`)
  socket.terminate()
}

pin(process.pid, 1)
const rounds: Record<string, (readonly Sample[])[]> = {}
for (let round = 0; round < Number(chosen.rounds); round++)
  for (const [name, command] of Object.entries(servers)) {
    rounds[name] ??= []
    rounds[name].push(await measure(command))
  }
for (const [index, { name }] of rows.entries()) {
  console.log(name)
  const medians = Object.entries(rounds).map(([server, all]) => {
    const rates = all.map(round => round[index]!.rate)
    const cost = median(all.map(round => round[index]!.cost))
    const list = rates.map(rate => rate.toFixed(0)).join(' ')
    console.log(`  ${server}: ${median(rates).toFixed(0)} (${list}), ${cost.toFixed(0)} µs of CPU per reply`)
    return median(rates)
  })
  if (medians.length === 2) console.log(`  ours : python = ${(medians[0]! / medians[1]!).toFixed(1)}`)
}
