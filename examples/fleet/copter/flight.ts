import { FIELD, type Path, type Place, TOP_SPEED } from './path.ts'

export type Mode = 'on the ground' | 'taking off' | 'hovering' | 'on the path' | 'paused' | 'landing'

/** Meters above the ground of a hovering copter. */
const HOVER = 1.5
/** Meters per second squared. */
const ACCELERATION = 4
/** Meters per second downward. */
const SINK = 0.8
/** Percent per second. */
const DRAIN = { idle: 0.02, flying: 0.12, charging: -0.5 }
/** Percent of the battery below which a copter does not arm, and below which it lands. */
const MIN_TO_ARM = 30
const MIN_TO_FLY = 15
/** Seconds of one step, and the longest simulated time per call. */
const STEP = 0.02
const MAX_LAG = 2

/** A simulated copter; time passes only in `advance`. Commands that cannot be executed throw an Error with code `refused`. */
export class Flight {
  readonly #home: Place
  /** Distance to the first copter along the common path, 0 to 1. */
  readonly #lead: number
  #mode: Mode = 'on the ground'
  #armed = false
  #battery: number
  #place: Place
  #velocity: Place = { x: 0, y: 0, z: 0 }
  #path: Path | undefined
  /** Seconds since the start of the path. */
  #flown = 0
  #due = 0

  /** @param rowPosition - position in the row of copters, 0 to 1 from the left. */
  constructor(rowPosition: number, battery = 100) {
    this.#home = { x: 1 + rowPosition * (FIELD.width - 1), y: 0.8, z: 0 }
    this.#place = this.#home
    this.#lead = rowPosition
    this.#battery = battery
  }

  get state() {
    const { x, y, z } = this.#place
    const path = this.#path?.seconds ?? null
    return { mode: this.#mode, armed: this.#armed, battery: this.#battery, position: { x, y, z }, path }
  }

  /** Reasons why it cannot arm. */
  get faults(): readonly string[] {
    return this.#battery < MIN_TO_ARM
      ? [`battery at ${Math.floor(this.#battery)} %, at least ${MIN_TO_ARM} % are needed`]
      : []
  }

  /** Replaces the path, also in flight. */
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
    if (this.#isUp) throw refusal('in flight')
    this.#armed = false
  }

  takeoff(): void {
    this.#requireArmed()
    if (!this.#isUp) this.#mode = 'taking off'
  }

  /** Flies the path from the position where it was paused. */
  start(): void {
    this.#requireArmed()
    if (this.#path === undefined) throw refusal('no path')
    this.#mode = 'on the path'
  }

  pause(): void {
    if (this.#mode === 'on the path') this.#mode = 'paused'
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

  #requireArmed(): void {
    if (!this.#armed) throw refusal('not armed')
  }

  #step(): void {
    const drain = this.#isUp ? DRAIN.flying : this.#armed ? DRAIN.idle : DRAIN.charging
    this.#battery = Math.min(100, Math.max(0, this.#battery - drain * STEP))
    if (this.#battery < MIN_TO_FLY) this.land()
    if (this.#isUp) this.#fly()
  }

  #fly(): void {
    const velocity = limited(this.#targetVelocity(), TOP_SPEED)
    const change = limited(minus(velocity, this.#velocity), ACCELERATION * STEP)
    this.#velocity = plus(this.#velocity, change)
    this.#place = plus(this.#place, times(this.#velocity, STEP))
    if (this.#mode === 'landing' && this.#place.z <= 0) this.#touchDown()
    else if (this.#mode === 'taking off' && this.#place.z > HOVER - 0.05) this.#mode = 'hovering'
  }

  /** Without the limits of speed and acceleration. */
  #targetVelocity(): Place {
    const { x, y } = this.#place
    if (this.#mode === 'landing') return { x: 0, y: 0, z: -SINK }
    if (this.#mode === 'paused') return { x: 0, y: 0, z: 0 }
    if (this.#mode !== 'on the path') return times(minus({ x, y, z: HOVER }, this.#place), 2)
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

function refusal(reason: string): Error {
  return Object.assign(new Error(reason), { code: 'refused' })
}

function plus(a: Place, b: Place): Place {
  return { x: a.x + b.x, y: a.y + b.y, z: a.z + b.z }
}

function minus(a: Place, b: Place): Place {
  return { x: a.x - b.x, y: a.y - b.y, z: a.z - b.z }
}

function times(a: Place, factor: number): Place {
  return { x: a.x * factor, y: a.y * factor, z: a.z * factor }
}

function limited(a: Place, max: number): Place {
  const length = Math.hypot(a.x, a.y, a.z)
  return length > max ? times(a, max / length) : a
}
