/** Meters; the origin is the upper left corner, y grows downwards, as on a screen. */
export const FIELD = { width: 4, height: 2.5 } as const

/** State of a car. */
export interface CarState {
  /** Meters. */
  readonly x: number
  readonly y: number
  /** Radians, clockwise from the right, with full turns. */
  readonly heading: number
  /** Meters per second; negative when it drives backward. */
  readonly speed: number
  /** Angle of the front wheels in radians; positive to the right. */
  readonly wheel: number
  /** Whether the car touches a wall of the field. */
  readonly isAtWall: boolean
}

/** Forward or backward, and the angle of the wheels from -1 to 1, by direction nibble. */
const DIRECTIONS: readonly (readonly [roll: number, turn: number])[] = [
  [0, 0],
  [1, 0],
  [-1, 0],
  [1, -1],
  [1, 1],
  [1, -0.5],
  [1, 0.5],
  [-1, -0.5],
  [-1, 0.5],
]

/** Meters per second at speed 15. */
const TOP_SPEED = 1.5
/** Meters per second squared. */
const ACCELERATION = 3
const MAX_WHEEL = 0.6
/** Radians per second. */
const WHEEL_RATE = 4
/** Meters between the axles, and from the center of the car to a wall. */
const WHEELBASE = 0.26
const RADIUS = 0.2

/** Seconds of one step. */
const STEP = 0.02
/** Longest simulated time per call, in seconds: after a pause the car continues where it was. */
const MAX_LAG = 0.1

/** A toy car on a field with walls; time passes only in `advance`. */
export class Model {
  #x: number = FIELD.width / 2
  #y: number = FIELD.height / 2
  #heading = -Math.PI / 2
  #speed = 0
  #wheel = 0
  #targetSpeed = 0
  #targetWheel = 0
  /** Seconds that are not simulated yet. */
  #due = 0

  /** @param byte - direction nibble, 0 to 8, and speed nibble. */
  drive(byte: number): void {
    const [roll, turn] = DIRECTIONS[byte >> 4]!
    this.#targetSpeed = (roll * TOP_SPEED * (byte & 0xf)) / 15
    this.#targetWheel = turn * MAX_WHEEL
  }

  advance(seconds: number): CarState {
    this.#due = Math.min(this.#due + Math.max(seconds, 0), MAX_LAG)
    for (; this.#due >= STEP - 1e-9; this.#due -= STEP) this.#step()
    const isAtWall = isAtEdge(this.#x, FIELD.width) || isAtEdge(this.#y, FIELD.height)
    return { x: this.#x, y: this.#y, heading: this.#heading, speed: this.#speed, wheel: this.#wheel, isAtWall }
  }

  #step(): void {
    this.#wheel = towards(this.#wheel, this.#targetWheel, WHEEL_RATE * STEP)
    const speed = towards(this.#speed, this.#targetSpeed, ACCELERATION * STEP)
    // Bicycle model: the rear wheel follows the front wheel.
    this.#heading += (speed / WHEELBASE) * Math.tan(this.#wheel) * STEP
    const [along, across] = [Math.cos(this.#heading), Math.sin(this.#heading)]
    const x = within(this.#x + speed * along * STEP, FIELD.width)
    const y = within(this.#y + speed * across * STEP, FIELD.height)
    // A wall reduces the speed.
    this.#speed = ((x - this.#x) * along + (y - this.#y) * across) / STEP
    this.#x = x
    this.#y = y
  }
}

function towards(value: number, target: number, max: number): number {
  return value + Math.min(Math.max(target - value, -max), max)
}

function within(position: number, size: number): number {
  return Math.min(Math.max(position, RADIUS), size - RADIUS)
}

function isAtEdge(position: number, size: number): boolean {
  return position === RADIUS || position === size - RADIUS
}
