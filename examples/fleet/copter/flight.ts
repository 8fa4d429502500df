import { FIELD, type Path, type Place, TOP_SPEED } from './path.ts'

export type Mode = 'on the ground' | 'taking off' | 'hovering' | 'on its path' | 'paused' | 'landing'

/** Metres above the ground at which a copter waits. */
const HOVER = 1.5
/** Metres a second, each second. */
const ACCELERATION = 4
/** Metres a second downwards. */
const SINK = 0.8
/** Per cent a second. */
const DRAIN = { idle: 0.02, flying: 0.12, charging: -0.5 }
/** Per cent below which a copter does not arm, and below which it lands by itself. */
const ENOUGH = 30
const LITTLE = 15
/** Seconds of one step, and the longest time that is made up for. */
const STEP = 0.02
const MAX_LAG = 2

/** A simulated copter; it knows no clock. Its commands throw an Error with a code when they cannot be obeyed. */
export class Flight {
  readonly #home: Place
  /** How far along the path it flies ahead of the first copter, 0 to 1: they all share one. */
  readonly #lead: number
  #mode: Mode = 'on the ground'
  #armed = false
  #battery: number
  #place: Place
  #velocity: Place = { x: 0, y: 0, z: 0 }
  #path: Path | undefined
  /** Seconds of the path that are behind it. */
  #flown = 0
  #due = 0

  /** @param share - which part of the row of copters is to its left, 0 to 1. */
  constructor(share: number, battery = 100) {
    this.#home = { x: 1 + share * (FIELD.width - 1), y: 0.8, z: 0 }
    this.#place = this.#home
    this.#lead = share
    this.#battery = battery
  }

  get state() {
    const { x, y, z } = this.#place
    const path = this.#path?.seconds ?? null
    return { mode: this.#mode, armed: this.#armed, battery: this.#battery, position: { x, y, z }, path }
  }

  /** Why it would not arm; none: it would. */
  get faults(): readonly string[] {
    return this.#battery < ENOUGH ? [`battery at ${Math.floor(this.#battery)} %, ${ENOUGH} are needed`] : []
  }

  /** Takes it up while it flies another one, too. */
  load(path: Path): void {
    this.#path = path
    this.#flown = 0
  }

  arm(): void {
    const [fault] = this.faults
    if (fault !== undefined) throw refusal(fault)
    this.#armed = true
  }

  disarm(): void {
    if (this.#isUp) throw refusal('it flies')
    this.#armed = false
  }

  takeoff(): void {
    this.#needArms()
    if (!this.#isUp) this.#mode = 'taking off'
  }

  /** Flies its path, from where it stopped. */
  start(): void {
    this.#needArms()
    if (this.#path === undefined) throw refusal('it has no path')
    this.#mode = 'on its path'
  }

  pause(): void {
    if (this.#mode === 'on its path') this.#mode = 'paused'
  }

  land(): void {
    if (this.#isUp) this.#mode = 'landing'
  }

  advance(seconds: number): void {
    this.#due = Math.min(this.#due + Math.max(seconds, 0), MAX_LAG)
    for (; this.#due >= STEP - 1e-9; this.#due -= STEP) this.#step()
  }

  get #isUp(): boolean {
    return this.#mode !== 'on the ground'
  }

  #needArms(): void {
    if (!this.#armed) throw refusal('it is not armed')
  }

  #step(): void {
    const drain = this.#isUp ? DRAIN.flying : this.#armed ? DRAIN.idle : DRAIN.charging
    this.#battery = Math.min(100, Math.max(0, this.#battery - drain * STEP))
    if (this.#battery < LITTLE) this.land()
    if (this.#isUp) this.#fly()
  }

  #fly(): void {
    const wish = this.#wish()
    const velocity = limited(wish, TOP_SPEED)
    const change = limited(minus(velocity, this.#velocity), ACCELERATION * STEP)
    this.#velocity = plus(this.#velocity, change)
    this.#place = plus(this.#place, times(this.#velocity, STEP))
    if (this.#mode === 'landing' && this.#place.z <= 0) this.#touchDown()
    else if (this.#mode === 'taking off' && this.#place.z > HOVER - 0.05) this.#mode = 'hovering'
  }

  /** The velocity that it would have at once if it could. */
  #wish(): Place {
    const { x, y } = this.#place
    if (this.#mode === 'landing') return { x: 0, y: 0, z: -SINK }
    if (this.#mode === 'paused') return { x: 0, y: 0, z: 0 }
    if (this.#mode !== 'on its path') return times(minus({ x, y, z: HOVER }, this.#place), 2)
    this.#flown += STEP
    const t = this.#flown + this.#lead * this.#path!.seconds
    const target = this.#path!.at(t)
    const pace = times(minus(this.#path!.at(t + STEP), target), 1 / STEP)
    return plus(limited(pace, TOP_SPEED), times(minus(target, this.#place), 2))
  }

  #touchDown(): void {
    this.#place = { ...this.#place, z: 0 }
    this.#velocity = { x: 0, y: 0, z: 0 }
    this.#mode = 'on the ground'
    this.#armed = false
    this.#flown = 0
  }
}

function refusal(why: string): Error {
  return Object.assign(new Error(why), { code: 'refused' })
}

function plus(a: Place, b: Place): Place {
  return { x: a.x + b.x, y: a.y + b.y, z: a.z + b.z }
}

function minus(a: Place, b: Place): Place {
  return { x: a.x - b.x, y: a.y - b.y, z: a.z - b.z }
}

function times(a: Place, by: number): Place {
  return { x: a.x * by, y: a.y * by, z: a.z * by }
}

function limited(a: Place, most: number): Place {
  const length = Math.hypot(a.x, a.y, a.z)
  return length > most ? times(a, most / length) : a
}
