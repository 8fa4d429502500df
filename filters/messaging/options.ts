import type { OptionSpecs } from 'filtered-websocket'
import { resumptionOptions } from './resumption/resumption-options.ts'

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
  'messaging-header-timeout': {
    type: 'number',
    default: 10,
    min: 0.1,
    max: 3600,
    describe: 'Seconds for the header of a frame that has begun, and for a TLS handshake',
  },
  'messaging-heartbeat': {
    type: 'number',
    default: 30,
    min: 0,
    max: 86_400,
    describe:
      'Seconds between requests for the id of a TCP peer; one that is silent from one to the next is disconnected. 0 disables',
  },
  'messaging-idle': {
    type: 'number',
    default: 60,
    min: 0.1,
    max: 86_400,
    describe: 'Seconds in which a content that has begun, and each step of a file transfer, must make progress',
  },
  'messaging-max-json': {
    type: 'number',
    default: 1_048_576,
    min: 1024,
    integer: true,
    describe:
      'Bytes of JSON in a message, and of all messages of a client that are being handled; a larger message closes the client with 1009',
  },
  'messaging-max-whole': {
    type: 'number',
    default: 16_777_216,
    min: 1024,
    integer: true,
    describe: 'Bytes of a file that is sent in one frame or held in memory',
  },
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
  'messaging-max-calls': {
    type: 'number',
    default: 1000,
    min: 1,
    max: 1_000_000,
    integer: true,
    describe: 'Calls to one client, and to all peers, that may wait for answers; further ones fail',
  },
  'messaging-max-work': {
    type: 'number',
    default: 100,
    min: 1,
    integer: true,
    describe: 'Running requests and actions of one client; as many more wait, then the server pauses reading',
  },
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
  'messaging-max-file': {
    type: 'number',
    default: 1_073_741_824,
    min: 1,
    integer: true,
    describe: 'Bytes of one file of a client',
  },
  'messaging-quota': {
    type: 'number',
    default: 10_737_418_240,
    min: 0,
    integer: true,
    describe:
      'Bytes under --messaging-root, including other files; a file of a client that would exceed them is refused',
  },
  'messaging-max-transfers': {
    type: 'number',
    default: 64,
    min: 1,
    max: 10_000,
    integer: true,
    describe: 'Concurrent file transfers',
  },
  'messaging-part-age': {
    type: 'number',
    default: 3600,
    min: 0.1,
    describe: 'Seconds that an incomplete file is kept, so that its sender can continue',
  },
  ...resumptionOptions,
} as const satisfies OptionSpecs
