import { type CarState, Model } from './model.ts'

/** What moves a car: the simulated one, or one with wheels. */
export interface Driver {
  /**
   * Obeys one byte until the next: the high nibble is the direction (0 stop, 1 forward, 2 backward, 3 left, 4 right, 5 forward left, 6 forward
   * right, 7 backward left, 8 backward right), the low nibble the speed, 0 to 15. A promise settles when the car has it. Bytes MUST
   * arrive in the order of the calls.
   */
  drive(byte: number): void | Promise<void>
  /** Where the car is, as far as that is known; asked 50 times a second. */
  where(): CarState
}

/** @param now - milliseconds of a clock that only goes forward. */
export function simulated(now: () => number = () => performance.now()): Driver {
  const model = new Model()
  let before = now()

  function where(): CarState {
    const at = now()
    const state = model.advance((at - before) / 1000)
    before = at
    return state
  }

  return {
    drive(byte) {
      // Until now it did what it was told before.
      where()
      model.drive(byte)
    },
    where,
  }
}
