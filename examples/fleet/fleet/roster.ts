import type { Client } from 'filtered-websocket'

/** Further copters are not shown. */
const MAX_COPTERS = 100
const MAX_TEXT = 100

/** A copter for pages: whether it is connected, since when (seconds since 1970), and its last telemetry. */
export interface Shown extends Partial<Telemetry> {
  readonly id: string
  readonly link: boolean
  readonly since: number
}

type Telemetry = ReturnType<typeof telemetryIn>

interface Copter {
  readonly id: string
  client: Client | undefined
  since: number
  telemetry: Telemetry | undefined
}

/** All copters that have connected since the server started. */
export class Roster {
  readonly #copters = new Map<string, Copter>()
  readonly #show: (copter: Shown) => void

  /** @param show - called after each change. */
  constructor(show: (copter: Shown) => void) {
    this.#show = show
  }

  get shown(): readonly Shown[] {
    return [...this.#copters.values()].map(shownOf)
  }

  /** Ids of all copters, also disconnected ones. */
  get ids(): readonly string[] {
    return [...this.#copters.keys()]
  }

  /** Reasons why copters cannot take off, or with `needsPath` start, by their ids. */
  faults(needsPath: boolean): ReadonlyMap<string, string> {
    const all = [...this.#copters.values()]
    const pairs = all.map(copter => [copter.id, faultOf(copter, needsPath)] as const)
    return new Map(pairs.filter(([, fault]) => fault !== ''))
  }

  /** Connected copters by id. */
  get clients(): ReadonlyMap<string, Client> {
    const pairs = [...this.#copters.values()].map(({ id, client }) => [id, client] as const)
    return new Map(pairs.filter((pair): pair is readonly [string, Client] => pair[1] !== undefined))
  }

  /** @returns seconds since the disconnect, 0 for a new or connected copter; `undefined`: too many copters. */
  connected(client: Client, id: string): number | undefined {
    const now = Date.now() / 1000
    const copter = this.#copters.get(id) ?? { id, client, since: now, telemetry: undefined }
    if (!this.#copters.has(id) && this.#copters.size >= MAX_COPTERS) return undefined
    this.#copters.set(id, copter)
    const away = copter.client === undefined ? now - copter.since : 0
    // The latest of several connections counts.
    copter.client = client
    copter.since = now
    this.#show(shownOf(copter))
    return away
  }

  /** @returns the id of the copter; `undefined`: the client is not a copter. */
  disconnected(client: Client): string | undefined {
    const copter = this.#of(client)
    if (copter === undefined) return undefined
    copter.client = undefined
    copter.since = Date.now() / 1000
    this.#show(shownOf(copter))
    return copter.id
  }

  update(client: Client, kwargs: Readonly<Record<string, unknown>>): void {
    const copter = this.#of(client)
    if (copter === undefined) return
    copter.telemetry = telemetryIn(kwargs)
    this.#show(shownOf(copter))
  }

  /** `undefined`: the client is not a copter. */
  idOf(client: Client): string | undefined {
    return this.#of(client)?.id
  }

  #of(client: Client): Copter | undefined {
    const copter = this.#copters.get(client.state.messaging?.id ?? '')
    return copter?.client === client ? copter : undefined
  }
}

function faultOf({ client, telemetry }: Copter, needsPath: boolean): string {
  if (client === undefined) return 'disconnected'
  const faults = telemetry?.armed ? [] : ['not armed']
  if (needsPath && telemetry?.path == null) faults.push('no path')
  return faults.join(', ')
}

function shownOf({ id, client, since, telemetry }: Copter): Shown {
  return { id, link: client !== undefined, since, ...telemetry }
}

/** Only valid and short values, as they are sent to all pages. */
function telemetryIn(kwargs: Readonly<Record<string, unknown>>) {
  const { mode, armed, battery, position, path, light, clock, process } = kwargs
  const { x, y, z } = Object(position)
  return {
    mode: String(mode).slice(0, MAX_TEXT),
    armed: armed === true,
    battery: numberIn(battery),
    position: { x: numberIn(x), y: numberIn(y), z: numberIn(z) },
    path: numberIn(path),
    light: Array.isArray(light) ? light.slice(0, 3).map(numberIn) : null,
    clock: { offset: numberIn(Object(clock).offset), error: numberIn(Object(clock).error) },
    process: numberIn(process),
  }
}

export function numberIn(value: unknown): number | null {
  return typeof value === 'number' && Number.isFinite(value) ? value : null
}
