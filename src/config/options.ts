import type { OptionSpecs, OptionValues } from '../contract/option.ts'

/** A timer of Node holds 2^31 - 1 milliseconds. */
const MAX_SECONDS = 2_147_483

/** A text of so many bytes is the longest string that V8 makes; ws takes 2^31 and more for no limit or a wrong one. */
const MAX_PAYLOAD = 536_870_888

/** Every option of the core, with its default; flags, environment, config file, help, schema and docs are made from it. */
export const coreOptions = {
  filters: {
    type: 'array',
    alias: 'f',
    default: ['broadcast', 'stdout-messages'],
    describe: 'filters in order: built-ins, ./files or packages',
  },
  config: {
    type: 'string',
    alias: 'c',
    normalize: true,
    describe: 'config file: JSON with comments, same names as the flags',
  },
  port: {
    type: 'number',
    alias: 'p',
    default: 9000,
    min: 0,
    max: 65_535,
    integer: true,
    describe: 'port to listen on; 0: any free one',
  },
  host: { type: 'string', default: '127.0.0.1', describe: 'address to listen on; 0.0.0.0: all of this machine' },
  hosts: {
    type: 'array',
    default: [],
    describe: 'Host names answered beside loopback ones, as behind a proxy; none given: all, unless bound to loopback',
  },
  origins: {
    type: 'array',
    default: [],
    describe:
      "browser origins allowed beside the server's own, such as https://example.com or https://*.example.com; *: any",
  },
  'trust-proxy': {
    type: 'array',
    default: [],
    describe:
      'proxies whose X-Forwarded-For tells the address of a client: addresses, ranges such as 10.0.0.0/8, loopback',
  },
  key: { type: 'string', normalize: true, describe: 'TLS private key, PEM file' },
  cert: {
    type: 'string',
    normalize: true,
    describe: "TLS certificate chain, PEM file: the server's certificate, then its issuers",
  },
  'key-passphrase': { type: 'string', secret: true, describe: 'passphrase of an encrypted --key' },
  ca: {
    type: 'string',
    normalize: true,
    describe: 'authorities of client certificates, PEM file; such are asked for then',
  },
  'client-cert': {
    type: 'string',
    choices: ['required', 'optional'],
    describe: 'whether a client without a certificate is let in with --ca; required unless told',
  },
  storage: {
    type: 'string',
    default: 'memory',
    describe: 'storage: memory, a ./file or a package; also STORAGE_OBJECT_MODULE',
  },
  compress: {
    type: 'boolean',
    default: false,
    describe: 'compress messages for clients that can (permessage-deflate); a broadcast once for all of them',
  },
  'compress-threshold': {
    type: 'number',
    default: 1024,
    min: 0,
    integer: true,
    describe: 'bytes from which on a message is compressed',
  },
  'max-payload': {
    type: 'number',
    default: 1_048_576,
    min: 1,
    max: MAX_PAYLOAD,
    integer: true,
    describe: `bytes of one received message, up to ${MAX_PAYLOAD}; a larger one closes 1009`,
  },
  'max-buffered': {
    type: 'number',
    default: 1_048_576,
    min: 1,
    integer: true,
    describe: 'bytes that may wait for one client, in each direction',
  },
  'max-queued': {
    type: 'number',
    default: 256,
    min: 1,
    integer: true,
    describe: 'messages of one client that may wait for a filter before its socket is paused',
  },
  'slow-clients': {
    type: 'string',
    choices: ['close', 'drop'],
    default: 'close',
    describe: 'what a client past --max-buffered gets: close 1013, or messages dropped and counted',
  },
  'max-clients': {
    type: 'number',
    default: 10_000,
    min: 1,
    integer: true,
    describe: 'clients at a time; one more is refused with 503',
  },
  heartbeat: {
    type: 'number',
    default: 30,
    min: 0,
    max: MAX_SECONDS,
    describe: 'seconds between pings; who does not answer is dropped; 0: none',
  },
  'filter-timeout': {
    type: 'number',
    default: 30,
    min: 0,
    max: MAX_SECONDS,
    describe: "seconds that a filter's promise may take; 0: for ever",
  },
  'handshake-timeout': {
    type: 'number',
    default: 10,
    min: 0,
    max: MAX_SECONDS,
    describe: 'seconds for request headers, and for all connect filters; 0: for ever',
  },
  'hold-timeout': {
    type: 'number',
    default: 10,
    min: 0,
    max: MAX_SECONDS,
    describe: 'seconds that a client may stay on hold; then closed 1008; 0: for ever',
  },
  drain: {
    type: 'number',
    default: 10,
    min: 0,
    max: MAX_SECONDS,
    describe: 'seconds to finish work and say goodbye when stopping',
  },
  'log-level': {
    type: 'string',
    choices: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
    default: 'info',
    describe: 'least severe diagnostics to write to standard error',
  },
  'log-format': {
    type: 'string',
    choices: ['auto', 'pretty', 'json'],
    default: 'auto',
    describe: 'auto: pretty in a terminal, else JSON lines',
  },
} as const satisfies OptionSpecs

export type CoreOptions = OptionValues<typeof coreOptions>

/** Switches of the command line alone: they make no sense in a config file or the environment. */
export const commandOptions = {
  explain: {
    type: 'boolean',
    default: false,
    describe: 'print the chains, and where every option came from, then exit',
  },
  help: {
    type: 'boolean',
    default: false,
    alias: 'h',
    describe: "print this help, the chosen filters' options included",
  },
  version: { type: 'boolean', default: false, describe: 'print the version' },
} as const satisfies OptionSpecs

/** `redis_host` and `redisHost` are `redis-host`. */
export function kebab(name: string): string {
  return name
    .replaceAll('_', '-')
    .replace(/(?<=[a-z0-9])[A-Z]/g, capital => `-${capital}`)
    .toLowerCase()
}

/** `redis-host` is `FWS_REDIS_HOST` in the environment. */
export function envName(option: string): string {
  return `FWS_${option.replaceAll('-', '_').toUpperCase()}`
}
