// One simulated copter: npx jiti examples/fleet/copter.ts --id copter11
import { mkdirSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { blobs, connectMessaging } from 'filtered-websocket/client/messaging'
import { Flight } from './copter/flight.ts'
import { type Path, readPath } from './copter/path.ts'

/** Milliseconds between two words about itself, and between two looks at the server's clock. */
const TELEMETRY = 250
const CLOCK = 5000
/** Where nobody listens. */
const NOWHERE = 'tcp://127.0.0.1:9'
/** Bytes of a path. */
const MAX_FILE = 1024 * 1024

const { values } = parseArgs({
  options: {
    id: { type: 'string', default: 'copter1' },
    station: { type: 'string', default: 'tcp://127.0.0.1:25000' },
    folder: { type: 'string' },
  },
})
const { id, station: url, folder = join(tmpdir(), 'fws-fleet', id) } = values
mkdirSync(folder, { recursive: true })
const file = join(folder, 'path.csv')

const station = connectMessaging(url, {
  id,
  firstDelay: 250,
  maxDelay: 2000,
  files: blobs({ take, maxBytes: MAX_FILE }),
})
const flight = new Flight(shareOf(Number(/\d+$/.exec(id)?.[0] ?? 1)), 85 + 15 * Math.random())
let before = performance.now()
let { mode } = flight.state
let light: readonly number[] | null = null
let path = saved()
if (path !== undefined) flight.load(path)

/** Copters stand in a row; the eleventh is between the first and the second. */
function shareOf(number: number): number {
  const index = Math.max(number - 1, 0)
  return (index / 10 + Math.floor(index / 10) / 20) % 1
}

/** A file of the station, whole and as it was sent. It is read before it takes the place of another; why it is refused goes back. */
async function take({ filepath, blob }: { readonly filepath: string; readonly blob: Blob }): Promise<void> {
  if (filepath !== 'path.csv') throw new Error(`a copter takes path.csv, received ${filepath.slice(0, 100)}`)
  const text = await blob.text()
  path = readPath(text)
  await writeFile(file, text)
  now().load(path)
  say()
}

/** What an earlier run of it was sent. */
function saved(): Path | undefined {
  try {
    return readPath(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

/** The copter as it is now. */
function now(): Flight {
  const at = performance.now()
  flight.advance((at - before) / 1000)
  before = at
  return flight
}

function telemetry() {
  const { offset, error } = station.clock
  const clock = error === Number.POSITIVE_INFINITY ? null : { offset: offset * 1000, error: error * 1000 }
  return { ...now().state, light, clock, process: process.pid }
}

function syncClock(): void {
  if (station.state === 'open') station.clock.sync().catch(() => {})
}

/** Arrives, if need be after the connection is back; with the time at which it was so. */
function tell(event: string): void {
  const at = station.clock.now()
  station.deliver('event', [event], { at }).catch(() => {})
}

/** What it is now; what is old when the connection is back would be of no use. */
function say(): void {
  const said = telemetry()
  if (said.mode !== mode) tell(said.mode)
  mode = said.mode
  if (station.state === 'open') station.emit('telemetry', [], said)
}

for (const name of ['arm', 'disarm', 'takeoff', 'pause', 'land'] as const)
  station.action(name, () => {
    now()[name]()
    say()
  })

// To be sure of it when it matters.
station.action('arm', syncClock)

station.action('start', (_args, _kwargs, { at }) => {
  // One clock for all processes of a machine: shows how good the others are.
  const monotonic = Number(process.hrtime.bigint()) / 1e6
  const clock = station.clock.now()
  now().start()
  station.deliver('started', [], { at, late: (clock - (at ?? clock)) * 1000, monotonic }).catch(() => {})
})

station.action('led_fill', ([red, green, blue], _kwargs, { repeated }) => {
  light = [red, green, blue].map(part => Math.min(Math.max(Math.round(Number(part) || 0), 0), 255))
  say()
  if (repeated) tell('lights set, perhaps once more')
})

/** Its radio is off for some seconds: nothing is said or heard, all else goes on. */
station.action('silence', ([seconds]) => {
  station.reload({ url: NOWHERE })
  setTimeout(() => station.reload({ url }), Math.min(Math.max(Number(seconds) || 1, 1), 60) * 1000)
})

station.request('telemetry', telemetry)
station.request('position', () => now().state.position)
station.request('selfcheck', () => now().faults)
station.request('path', () => path?.points ?? null)

// Why a file is refused the station hears as the answer to it.
station.on('failed', ({ name, error }) => name !== 'filetransfer' && tell(`${name}: ${(error as Error).message}`))
station.on('open', syncClock)
setInterval(say, TELEMETRY)
setInterval(syncClock, CLOCK)

// Whoever has started it is gone.
process.on('disconnect', () => process.exit())
