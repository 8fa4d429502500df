import type { OptionSpecs } from 'filtered-websocket'

export const options = {
  'car-speed': {
    type: 'number',
    default: 6,
    min: 1,
    max: 15,
    integer: true,
    describe: 'Speed of the commands up, down, left and right',
  },
  'car-hold': {
    type: 'number',
    default: 10,
    min: 0.1,
    max: 60,
    describe: 'Maximum and default duration of a command in seconds; then the car stops',
  },
} as const satisfies OptionSpecs
