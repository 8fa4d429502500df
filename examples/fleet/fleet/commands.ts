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
  readonly notifyPages: (action: string, args: Args) => void
  /** Events of copters, the latest one last. */
  readonly events: readonly object[]
}

/** Result of a command: the number of copters that accept it, and the reasons of others by id. */
export interface Outcome {
  readonly done: number
  readonly refused: Readonly<Record<string, string>>
}

/** Topic of all copters. */
export const FLEET = 'fleet'
/** Seconds from the command to the start, enough to reach all copters. */
const LEAD = 2
/** Milliseconds for the response of a copter. */
const CALL_OPTIONS = { timeout: 3000 }
/** Milliseconds for the transfer of a path. */
const FILE_TIMEOUT = 10_000
/** Name of the path of a page. */
const OWN = 'own.csv'
const MAX_FILE = 1024 * 1024
const MAX_POINTS = 10_000

/** Adds the requests of pages. */
export function addCommands({ messaging, roster, starts, processes, server, notifyPages, events }: Station): void {
  let path: { readonly name: string; readonly points: unknown } | null = null
  let started: Started | null = null
  /** Files in --messaging-root. */
  const paths = new Set(['circle.csv', 'figure-eight.csv'])

  function forEachConnected(run: (client: Client) => Promise<unknown>): Promise<Outcome> {
    const { clients, ids } = roster
    return forEach(ids, async id => {
      const client = clients.get(id)
      if (client === undefined) throw new Error('disconnected')
      await run(client)
    })
  }

  /** A copter with a fault gets the command as well, and reports why it fails. */
  function readyIds(faults: ReadonlyMap<string, string>): readonly string[] {
    return roster.ids.filter(id => !faults.has(id))
  }

  messaging.request('fleet', () => ({ copters: roster.shown, paths: [...paths], path, started, events }))

  messaging.request('arm', () =>
    forEachConnected(async client => {
      const faults = (await messaging.call(client, 'selfcheck', [], {}, CALL_OPTIONS)) as readonly unknown[]
      if (faults.length > 0) throw new Error(faults.join(', '))
      messaging.emit(client, 'arm')
    }),
  )

  messaging.request('path', async (_client, [name]) => {
    if (!paths.has(String(name))) throw new Error('there is no such path')
    const outcome = await forEachConnected(async client => {
      const signal = AbortSignal.timeout(FILE_TIMEOUT)
      await messaging.sendFile(client, String(name), 'path.csv', { signal })
      // As the copter has read it; the same for all copters.
      path = { name: String(name), points: pointsIn(await messaging.call(client, 'path', [], {}, CALL_OPTIONS)) }
    })
    if (outcome.done > 0) notifyPages('path', [path])
    return outcome
  })

  // Pages may send a path, but not request files.
  messaging.onFile((_client, { filepath, size, direction, done }) => {
    if (direction !== 'in' || filepath !== OWN) throw new Error(`only ${OWN} is accepted`)
    if (size > MAX_FILE) throw new Error(`a path has at most ${MAX_FILE} bytes`)
    if (done) paths.add(OWN)
  })

  messaging.request('start', async () => {
    const faults = roster.faults(true)
    const ready = readyIds(faults)
    if (ready.length === 0) return outcomeOf(0, faults)
    const at = messaging.now() + LEAD
    const reports = starts.collect(at, ready, messaging.now)
    messaging.schedule(server(), at, 'start', [], {}, { topic: FLEET })
    notifyPages('starting', [at])
    started = await reports
    notifyPages('started', [started])
    const { late } = started
    const silent = ready.filter(id => !Object.hasOwn(late, id))
    return outcomeOf(ready.length - silent.length, new Map(silent.map(id => [id, 'no report'])))
  })

  messaging.request('takeoff', () => {
    const faults = roster.faults(false)
    const ready = readyIds(faults)
    if (ready.length === 0) return outcomeOf(0, faults)
    messaging.broadcast(server(), 'takeoff', [], {}, { topic: FLEET })
    return outcomeOf(ready.length, new Map())
  })

  // Disconnected copters get it when they reconnect.
  for (const name of ['pause', 'land', 'led_fill'])
    messaging.request(name, (_client, args) => forEach(roster.ids, id => messaging.peer(id).emit(name, args)))

  messaging.request('cut', (_client, [id, seconds]) => {
    const client = roster.clients.get(String(id))
    if (client === undefined) throw new Error(`${String(id)} is disconnected`)
    messaging.emit(client, 'silence', [seconds])
  })

  messaging.request('kill', (_client, [id]) => processes.kill(String(id)))
}

async function forEach(ids: readonly string[], run: (id: string) => Promise<unknown>): Promise<Outcome> {
  const refused = new Map<string, string>()
  const runs = ids.map(async id => {
    try {
      await run(id)
    } catch (error) {
      refused.set(id, (error as Error).message)
    }
  })
  await Promise.all(runs)
  return outcomeOf(ids.length - refused.size, refused)
}

function outcomeOf(done: number, refused: ReadonlyMap<string, string>): Outcome {
  return { done, refused: Object.fromEntries(refused) }
}

/** Only valid values, as they are sent to all pages. */
function pointsIn(value: unknown): readonly { readonly x: number | null; readonly y: number | null }[] {
  const points = Array.isArray(value) ? value.slice(0, MAX_POINTS) : []
  return points.map(point => ({ x: numberIn(Object(point).x), y: numberIn(Object(point).y) }))
}
