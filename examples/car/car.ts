import type { Host, OptionSpecs } from 'filtered-websocket'
import { simulated } from './driver.ts'
import { steer } from './steer.ts'

export const options = {
  'car-speed': {
    type: 'number',
    default: 6,
    min: 1,
    max: 15,
    integer: true,
    describe: 'how fast up, down, left and right are',
  },
  'car-hold': {
    type: 'number',
    default: 10,
    min: 0.1,
    max: 60,
    describe: 'seconds after which the car stops when no further command comes',
  },
} as const satisfies OptionSpecs

/** A toy car that everybody may drive and see; a real one has a driver of its own in the place of the simulated one. */
export const setup = (host: Host<typeof options>) => steer(host, simulated())
