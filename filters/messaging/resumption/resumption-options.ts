import type { OptionSpecs } from 'filtered-websocket'

/** Of peers that come back. */
export const resumptionOptions = {
  'messaging-resume': {
    type: 'boolean',
    default: false,
    describe: 'keep, for clients that come back under their ids, what they have not got; ids prove nothing',
  },
  'messaging-remember': {
    type: 'number',
    default: 600,
    min: 1,
    max: 604_800,
    describe: 'seconds for which what such a client has asked is not done again',
  },
  'messaging-remember-bytes': {
    type: 'number',
    default: 67_108_864,
    min: 1_048_576,
    integer: true,
    describe:
      'bytes of what this node notes of that; beyond them what it knows of those who left longest ago goes first',
  },
  'messaging-lease': {
    type: 'number',
    default: 10,
    min: 1,
    max: 3600,
    describe: 'seconds after which a node that says nothing is taken for dead, and what it worked on is done again',
  },
  'messaging-max-peers': {
    type: 'number',
    default: 10_000,
    min: 1,
    integer: true,
    describe:
      'such clients that this node remembers, each run of their programs counted; further ones are not taken up',
  },
  'messaging-queue': {
    type: 'number',
    default: 1000,
    min: 1,
    integer: true,
    describe: 'actions kept for such a client until it has answered them; the storage must keep as many',
  },
  'messaging-queue-bytes': {
    type: 'number',
    default: 4_194_304,
    min: 1024,
    integer: true,
    describe: 'bytes of the actions kept for such a client',
  },
  'messaging-queue-age': {
    type: 'number',
    default: 3600,
    min: 1,
    max: 604_800,
    describe: 'seconds after which an action is kept no longer',
  },
} as const satisfies OptionSpecs
