import type { Client, Server } from 'filtered-websocket'
import type { Args, MessagingApi } from '../../../filters/messaging.ts'
import type { Processes } from './processes.ts'
import { numberIn, type Roster } from './roster.ts'
import type { Started, Starts } from './starts.ts'

export interface Station {
  readonly messaging: MessagingApi
  readonly roster: Roster
  readonly starts: Starts
  readonly processes: Processes
  readonly server: () => Server
  readonly tellPages: (action: string, args: Args) => void
  /** What was told of copters, the newest last. */
  readonly events: readonly object[]
}

/** What became of a command: how many copters obey, and why others do not, by id. */
export interface Outcome {
  readonly done: number
  readonly refused: Readonly<Record<string, string>>
}

/** Topic of all copters. */
export const FLEET = 'fleet'
/** Seconds from the command to the instant of a start: long enough for the word to reach all. */
const LEAD = 2
/** Milliseconds in which a copter answers. */
const QUICK = { timeout: 3000 }
/** Milliseconds in which a copter takes a path. */
const FILE_TIMEOUT = 10_000
/** The path that a page has sent. */
const OWN = 'own.csv'
const MAX_FILE = 1024 * 1024
const MAX_POINTS = 10_000

/** What pages may ask for. */
export function offerCommands({ messaging, roster, starts, processes, server, tellPages, events }: Station): void {
  let path: { readonly name: string; readonly points: unknown } | null = null
  let started: Started | null = null
  /** In the folder of --messaging-root. */
  const paths = new Set(['circle.csv', 'figure-eight.csv'])

  function here(ask: (client: Client) => Promise<unknown>): Promise<Outcome> {
    const { present } = roster
    return each([...present.keys()], id => ask(present.get(id)!))
  }

  messaging.request('fleet', () => ({ copters: roster.shown, paths: [...paths], path, started, events }))

  messaging.request('arm', () =>
    here(async client => {
      const faults = (await messaging.call(client, 'selfcheck', [], {}, QUICK)) as readonly unknown[]
      if (faults.length > 0) throw new Error(faults.join(', '))
      messaging.emit(client, 'arm')
    }),
  )

  messaging.request('path', async (_client, [name]) => {
    if (!paths.has(String(name))) throw new Error('there is no such path')
    const outcome = await here(async client => {
      const signal = AbortSignal.timeout(FILE_TIMEOUT)
      await messaging.sendFile(client, String(name), 'path.csv', { signal })
      // As it says itself; it is the same for all.
      path = { name: String(name), points: pointsIn(await messaging.call(client, 'path', [], {}, QUICK)) }
    })
    if (outcome.done > 0) tellPages('path', [path])
    return outcome
  })

  // From pages; nobody may ask for files here.
  messaging.onFile((_client, { filepath, size, direction, done }) => {
    if (direction !== 'in' || filepath !== OWN) throw new Error(`only ${OWN} is taken`)
    if (size > MAX_FILE) throw new Error(`a path has at most ${MAX_FILE} bytes`)
    if (done) paths.add(OWN)
  })

  messaging.request('start', async () => {
    const { ready } = roster
    if (ready.length === 0)
      return here(async () => {
        throw new Error('it is not armed, or has no path')
      })
    const at = messaging.now() + LEAD
    const gathered = starts.gather(at, ready, messaging.now)
    messaging.schedule(server(), at, 'start', [], {}, { topic: FLEET })
    tellPages('starting', [at])
    started = await gathered
    tellPages('started', [started])
    return { done: ready.length, refused: {} }
  })

  messaging.request('takeoff', () => messaging.broadcast(server(), 'takeoff', [], {}, { topic: FLEET }))

  // Also for those that are away: they hear it when they are back.
  for (const name of ['pause', 'land', 'led_fill'])
    messaging.request(name, (_client, args) => each(roster.ids, id => messaging.peer(id).emit(name, args)))

  messaging.request('cut', (_client, [id, seconds]) => {
    const client = roster.present.get(String(id))
    if (client === undefined) throw new Error('it is away')
    messaging.emit(client, 'silence', [seconds])
  })

  messaging.request('kill', (_client, [id]) => processes.kill(String(id)))
}

async function each(ids: readonly string[], ask: (id: string) => Promise<unknown>): Promise<Outcome> {
  const refused = new Map<string, string>()
  const asked = ids.map(async id => {
    try {
      await ask(id)
    } catch (error) {
      refused.set(id, (error as Error).message)
    }
  })
  await Promise.all(asked)
  return { done: ids.length - refused.size, refused: Object.fromEntries(refused) }
}

/** Each page gets them, so nothing else. */
function pointsIn(value: unknown): readonly { readonly x: number | null; readonly y: number | null }[] {
  const points = Array.isArray(value) ? value.slice(0, MAX_POINTS) : []
  return points.map(point => ({ x: numberIn(Object(point).x), y: numberIn(Object(point).y) }))
}
