import { type CarState, Model } from './model.ts'

/** Moves a car, simulated or real. */
export interface Driver {
  /**
   * Executes a byte until the next one. The high nibble is the direction (0 stop, 1 forward, 2 backward, 3 left, 4 right, 5 forward
   * left, 6 forward right, 7 backward left, 8 backward right), the low nibble the speed, 0 to 15. A promise settles when the car has
   * the byte. Bytes MUST arrive in the order of the calls.
   */
  drive(byte: number): void | Promise<void>
  /** The last known state of the car; called 50 times per second. */
  where(): CarState
  /** Puts the stopped car in the middle of the field; for a real car the position, after someone has put the car there. */
  reset(): void
}

/** @param now - milliseconds of a monotonic clock. */
export function simulated(now: () => number = () => performance.now()): Driver {
  let model = new Model()
  let before = now()

  function where(): CarState {
    const at = now()
    const state = model.advance((at - before) / 1000)
    before = at
    return state
  }

  return {
    drive(byte) {
      // The earlier command was valid until now.
      where()
      model.drive(byte)
    },
    where,
    reset() {
      model = new Model()
    },
  }
}
