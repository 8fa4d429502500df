import type { OptionSpecs } from 'filtered-websocket'

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
