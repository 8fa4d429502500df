import type { OptionSpecs } from 'filtered-websocket'
import { resumptionOptions } from './resumption/resumption-options.ts'

export const options = {
  'messaging-port': {
    type: 'number',
    min: 0,
    max: 65_535,
    integer: true,
    describe:
      'TCP port for peers that are no WebSocket clients; the original has 25000, 0 is any free one; default: none',
  },
  'messaging-host': {
    type: 'string',
    default: '127.0.0.1',
    describe: 'address of that port; its peers prove nothing, so give it a network of theirs alone',
  },
  'messaging-key': { type: 'string', normalize: true, describe: 'PEM key of that port: TLS, with --messaging-cert' },
  'messaging-cert': {
    type: 'string',
    normalize: true,
    describe: "PEM certificate chain of that port: the server's certificate, then its issuers",
  },
  'messaging-key-passphrase': {
    type: 'string',
    secret: true,
    describe: 'passphrase of an encrypted --messaging-key',
  },
  'messaging-open': {
    type: 'boolean',
    default: false,
    describe: 'open that port beside guards such as jwt too: its peers have no handshake that they could check',
  },
  'messaging-header-timeout': {
    type: 'number',
    default: 10,
    min: 0.1,
    max: 3600,
    describe: 'seconds in which a frame that has begun must have its whole header',
  },
  'messaging-heartbeat': {
    type: 'number',
    default: 30,
    min: 0,
    max: 86_400,
    describe:
      'seconds of silence after which a peer on TCP is asked for its id, and after as many more given up; 0: never',
  },
  'messaging-idle': {
    type: 'number',
    default: 60,
    min: 0.1,
    max: 86_400,
    describe: 'seconds in which a content that has begun, and every step of a file, must go on',
  },
  'messaging-max-json': {
    type: 'number',
    default: 1_048_576,
    min: 1024,
    integer: true,
    describe:
      'Bytes of JSON in a message, and of the messages of one client being handled; a larger message closes 1009',
  },
  'messaging-max-whole': {
    type: 'number',
    default: 16_777_216,
    min: 1024,
    integer: true,
    describe: 'Bytes of a file that is sent in one frame, or held in memory',
  },
  'messaging-action': {
    type: 'string',
    default: 'message',
    describe: 'the action as which clients get the texts of other filters, and as which they say such texts',
  },
  'messaging-ask-id': {
    type: 'boolean',
    default: true,
    describe: 'ask each peer on TCP for its id when it comes, as the original does',
  },
  'messaging-max-calls': {
    type: 'number',
    default: 1000,
    min: 1,
    max: 1_000_000,
    integer: true,
    describe: 'calls to one client that may wait for their answers; further ones fail',
  },
  'messaging-max-work': {
    type: 'number',
    default: 100,
    min: 1,
    integer: true,
    describe: 'requests and actions of one client that may be worked on; further ones are not read until one is done',
  },
  'messaging-topics': {
    type: 'array',
    default: [],
    describe: 'topics that clients may join by themselves, such as "fleet news/*"; none given: none',
  },
  'messaging-root': {
    type: 'string',
    normalize: true,
    describe: 'folder of the files that clients may send and ask for; default: none, all are refused',
  },
  'messaging-max-file': {
    type: 'number',
    default: 1_073_741_824,
    min: 1,
    integer: true,
    describe: 'bytes of one file of a client',
  },
  'messaging-quota': {
    type: 'number',
    default: 10_737_418_240,
    min: 0,
    integer: true,
    describe: 'bytes that may be under that folder in all, before files of clients are refused',
  },
  'messaging-max-transfers': {
    type: 'number',
    default: 64,
    min: 1,
    max: 10_000,
    integer: true,
    describe: 'files that may be under way at a time',
  },
  'messaging-part-age': {
    type: 'number',
    default: 3600,
    min: 0.1,
    describe: 'seconds that a file which is not whole is kept, so that its sender can go on',
  },
  ...resumptionOptions,
} as const satisfies OptionSpecs
