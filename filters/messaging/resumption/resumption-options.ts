import type { OptionSpecs } from 'filtered-websocket'

/** Options of delivery to peers that reconnect. */
export const resumptionOptions = {
  'messaging-resume': {
    type: 'boolean',
    default: false,
    describe:
      'Keep undelivered actions and recorded results for clients that reconnect with their ids; ids are not authenticated',
  },
  'messaging-remember': {
    type: 'number',
    default: 600,
    min: 1,
    max: 604_800,
    describe: 'Seconds that a resend is recognized, so that it does not run again',
  },
  'messaging-remember-bytes': {
    type: 'number',
    default: 67_108_864,
    min: 1_048_576,
    integer: true,
    describe:
      'Bytes of the records of this node; beyond, those of the client that disconnected first, or of the largest, are evicted',
  },
  'messaging-lease': {
    type: 'number',
    default: 10,
    min: 1,
    max: 3600,
    describe: 'Seconds without a renewal after which a node counts as dead, and its running requests run again',
  },
  'messaging-max-peers': {
    type: 'number',
    default: 10_000,
    min: 1,
    integer: true,
    describe:
      'Recorded incarnations of reconnecting clients on this node, and reconnecting clients with queued actions of this node',
  },
  'messaging-queue': {
    type: 'number',
    default: 1000,
    min: 1,
    integer: true,
    describe: 'Queued actions of a reconnecting client that it has not answered; further ones fail',
  },
  'messaging-queue-bytes': {
    type: 'number',
    default: 4_194_304,
    min: 1024,
    integer: true,
    describe: 'Bytes of the queued actions of a reconnecting client; actions beyond them fail',
  },
  'messaging-queue-age': {
    type: 'number',
    default: 3600,
    min: 1,
    max: 604_800,
    describe: 'Seconds after which a queued action is dropped',
  },
} as const satisfies OptionSpecs
