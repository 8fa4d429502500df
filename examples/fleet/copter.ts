// One simulated copter: npx jiti examples/fleet/copter.ts --id copter11
import { mkdirSync, readFileSync } from 'node:fs'
import { writeFile } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { blobs, connectMessaging } from 'filtered-websocket/client/messaging'
import { Flight } from './copter/flight.ts'
import { type Path, readPath } from './copter/path.ts'

/** Milliseconds between two reports, and between two measurements of the server's clock. */
const TELEMETRY = 250
const CLOCK = 5000
/** An address without a server. */
const NO_SERVER = 'tcp://127.0.0.1:9'
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
  files: blobs({ take: acceptFile, maxBytes: MAX_FILE }),
})
const flight = new Flight(rowPosition(Number(/\d+$/.exec(id)?.[0] ?? 1)), 85 + 15 * Math.random())
let before = performance.now()
let { mode } = flight.state
let light: readonly number[] | null = null
let path = savedPath()
if (path !== undefined) flight.load(path)

/** Position in the row of copters, 0 to 1; the eleventh is between the first and the second. */
function rowPosition(number: number): number {
  const index = Math.max(number - 1, 0)
  return (index / 10 + Math.floor(index / 10) / 20) % 1
}

/** Accepts a path of the station. An error is sent back, and the earlier path stays. */
async function acceptFile({ filepath, blob }: { readonly filepath: string; readonly blob: Blob }): Promise<void> {
  if (filepath !== 'path.csv') throw new Error(`a copter accepts path.csv, received ${filepath.slice(0, 100)}`)
  const text = await blob.text()
  path = readPath(text)
  await writeFile(file, text)
  now().load(path)
  sendTelemetry()
}

/** The path of an earlier process. */
function savedPath(): Path | undefined {
  try {
    return readPath(readFileSync(file, 'utf8'))
  } catch {
    return undefined
  }
}

/** The flight, simulated up to now. */
function now(): Flight {
  const time = performance.now()
  flight.advance((time - before) / 1000)
  before = time
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

/** Reports an event with its time, after a reconnect if there is no connection. */
function report(event: string, failed = false): void {
  const at = station.clock.now()
  station.deliver('event', [event], { at, failed }).catch(() => {})
}

/** Old telemetry is useless, so it is sent only while connected. */
function sendTelemetry(): void {
  const values = telemetry()
  if (values.mode !== mode) report(values.mode)
  mode = values.mode
  if (station.state === 'open') station.emit('telemetry', [], values)
}

for (const name of ['arm', 'disarm', 'takeoff', 'pause', 'land'] as const)
  station.action(name, () => {
    now()[name]()
    sendTelemetry()
  })

// The clock must be right at the start.
station.action('arm', syncClock)

station.action('start', (_args, _kwargs, { at }) => {
  // One clock for all processes of a machine, to check the other clocks.
  const monotonic = Number(process.hrtime.bigint()) / 1e6
  const clock = station.clock.now()
  now().start()
  station.deliver('started', [], { at, late: (clock - (at ?? clock)) * 1000, monotonic }).catch(() => {})
})

station.action('led_fill', ([red, green, blue], _kwargs, { repeated }) => {
  light = [red, green, blue].map(part => Math.min(Math.max(Math.round(Number(part) || 0), 0), 255))
  sendTelemetry()
  if (repeated) report('lights set, possibly twice')
})

/** Disconnects for some seconds; the flight continues. */
station.action('silence', ([seconds]) => {
  station.reload({ url: NO_SERVER })
  setTimeout(() => station.reload({ url }), Math.min(Math.max(Number(seconds) || 1, 1), 60) * 1000)
})

station.request('telemetry', telemetry)
station.request('position', () => now().state.position)
station.request('selfcheck', () => now().faults)
station.request('path', () => path?.points ?? null)

// The station gets the error of a file as its response.
station.on(
  'failed',
  ({ name, error }) => name !== 'filetransfer' && report(`${name} failed (${(error as Error).message})`, true),
)
station.on('open', syncClock)
setInterval(sendTelemetry, TELEMETRY)
setInterval(syncClock, CLOCK)

// The parent process has ended, perhaps while this one was starting.
process.on('disconnect', () => process.exit())
if (process.connected === false) process.exit()
