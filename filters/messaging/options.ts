import type { OptionSpecs } from 'filtered-websocket'

interface Bounds {
  readonly min?: number
  readonly max?: number
}

export const options = {
  'messaging-port': {
    type: 'number',
    min: 0,
    max: 65_535,
    integer: true,
    describe:
      'TCP port for peers that are not WebSocket clients; clever-show uses 25000, 0 selects a free port. Default: not opened',
  },
  'messaging-host': {
    type: 'string',
    default: '127.0.0.1',
    describe: 'Address of the TCP port. Its peers are not authenticated: use a separate network',
  },
  'messaging-key': {
    type: 'string',
    refuseEmpty: true,
    normalize: true,
    describe: 'TLS private key of the TCP port, PEM file; needs --messaging-cert',
  },
  'messaging-cert': {
    type: 'string',
    refuseEmpty: true,
    normalize: true,
    describe: "TLS certificate chain of the TCP port, PEM file: the server's certificate followed by its issuers",
  },
  'messaging-key-passphrase': {
    type: 'string',
    secret: true,
    describe: 'Passphrase of an encrypted --messaging-key',
  },
  'messaging-open': {
    type: 'boolean',
    default: false,
    describe: 'Open the TCP port in spite of guards such as jwt, which cannot check its peers: they have no handshake',
  },
  'messaging-header-timeout': seconds(10, 'Seconds for the header of a frame that has begun, and for a TLS handshake', {
    min: 0.1,
    max: 3600,
  }),
  'messaging-heartbeat': seconds(
    30,
    'Seconds between requests for the id of a TCP peer; one that is silent from one to the next is disconnected. 0 disables',
    { min: 0, max: 86_400 },
  ),
  'messaging-idle': seconds(
    60,
    'Seconds in which a content that has begun, and each step of a file transfer, must make progress',
    { min: 0.1, max: 86_400 },
  ),
  'messaging-max-json': count(
    1_048_576,
    'Bytes of JSON in a message, and of all messages of a client that are being handled; a larger message closes the client with 1009',
    { min: 1024 },
  ),
  'messaging-max-whole': count(16_777_216, 'Bytes of a file that is sent in one frame or held in memory', {
    min: 1024,
  }),
  'messaging-action': {
    type: 'string',
    default: 'message',
    describe: 'Action that carries the strings of other filters: clients get them as its argument, and send them as it',
  },
  'messaging-ask-id': {
    type: 'boolean',
    default: true,
    describe: 'Ask each TCP peer for its id when it connects, as clever-show does',
  },
  'messaging-max-calls': count(
    1000,
    'Calls to one client, and to all peers, that may wait for answers; further ones fail',
    { max: 1_000_000 },
  ),
  'messaging-max-work': count(
    100,
    'Running requests and actions of one client; as many more wait, then the server pauses reading',
  ),
  'messaging-topics': {
    type: 'array',
    default: [],
    describe: 'Patterns of the topics that clients may subscribe to, such as "fleet news/*". Default: none',
  },
  'messaging-root': {
    type: 'string',
    normalize: true,
    describe: 'Folder of the files that clients may send and request. Default: none, all files are refused',
  },
  'messaging-max-file': count(1_073_741_824, 'Bytes of one file of a client'),
  'messaging-quota': count(
    10_737_418_240,
    'Bytes under --messaging-root, including other files; a file of a client that would exceed them is refused',
    { min: 0 },
  ),
  'messaging-max-transfers': count(64, 'Concurrent file transfers', { max: 10_000 }),
  'messaging-part-age': seconds(3600, 'Seconds that an incomplete file is kept, so that its sender can continue', {
    min: 0.1,
  }),
  'messaging-resume': {
    type: 'boolean',
    default: false,
    describe:
      'Keep undelivered actions and recorded results for clients that reconnect with their ids, which only a guard such as jwt authenticates',
  },
  'messaging-remember': seconds(600, 'Seconds that a resend is recognized, so that it does not run again', {
    min: 1,
    max: 604_800,
  }),
  'messaging-remember-bytes': count(
    67_108_864,
    'Bytes of the records of this node; beyond, those of the client that disconnected first, or of the largest, are evicted',
    { min: 1_048_576 },
  ),
  'messaging-lease': seconds(
    10,
    'Seconds without a renewal after which a node counts as dead, and its running requests run again',
    { min: 1, max: 3600 },
  ),
  'messaging-max-peers': count(
    10_000,
    'Recorded incarnations of reconnecting clients on this node, and reconnecting clients with queued actions of this node',
  ),
  'messaging-queue': count(1000, 'Queued actions of a reconnecting client that it has not answered; further ones fail'),
  'messaging-queue-bytes': count(
    4_194_304,
    'Bytes of the queued actions of a reconnecting client; actions beyond them fail',
    { min: 1024 },
  ),
  'messaging-queue-age': seconds(3600, 'Seconds after which a queued action is dropped', { min: 1, max: 604_800 }),
} as const satisfies OptionSpecs

/** A number of items or bytes, from 1 unless `bounds` state another minimum. */
function count(value: number, describe: string, bounds: Bounds = {}) {
  return { type: 'number', default: value, min: 1, ...bounds, integer: true, describe } as const
}

function seconds(value: number, describe: string, bounds: Bounds) {
  return { type: 'number', default: value, ...bounds, describe } as const
}
