import type { OptionSpecs, OptionValues } from '../contract/option.ts'

/** Timers of Node are limited to 2^31 - 1 milliseconds. */
const MAX_SECONDS = 2_147_483

/** The longest string of V8; ws misreads values of 2^31 or more. */
const MAX_PAYLOAD = 536_870_888

/** The options of the core. Flags, environment, config file, help, schema and docs are derived from them. */
export const coreOptions = {
  filters: {
    type: 'array',
    refuseEmpty: true,
    alias: 'f',
    default: ['broadcast', 'stdout-messages'],
    describe: 'Filters in order: built-ins, ./files or packages',
  },
  config: {
    type: 'string',
    refuseEmpty: true,
    alias: 'c',
    normalize: true,
    describe: 'Config file: JSON with comments, with the names of the flags',
  },
  port: {
    type: 'number',
    alias: 'p',
    default: 9000,
    min: 0,
    max: 65_535,
    integer: true,
    describe: 'Port to listen on; 0 selects a free port',
  },
  host: {
    type: 'string',
    default: '127.0.0.1',
    describe: 'Address to listen on, 0.0.0.0 for all interfaces, or the path of a Unix socket',
  },
  hosts: {
    type: 'array',
    refuseEmpty: true,
    default: [],
    describe:
      'Allowed Host header values in addition to localhost, with any port. Default: any; on loopback only localhost',
  },
  'health-path': {
    type: 'string',
    describe: 'Path that answers ok to load balancers, with any Host, such as /healthz. Default: none',
  },
  origins: {
    type: 'array',
    refuseEmpty: true,
    default: [],
    describe:
      "Allowed browser origins in addition to the server's own, such as https://example.com, https://*.example.com or file://; * allows any",
  },
  'trust-proxy': {
    type: 'array',
    default: [],
    describe:
      'Proxies whose X-Forwarded-For is trusted: addresses, ranges such as 10.0.0.0/8, loopback, or unix. Default: none',
  },
  key: {
    type: 'string',
    refuseEmpty: true,
    normalize: true,
    describe: 'TLS private key, PEM file; enables TLS with --cert',
  },
  cert: {
    type: 'string',
    refuseEmpty: true,
    normalize: true,
    describe: "TLS certificate chain, PEM file: the server's certificate followed by its issuers",
  },
  'key-passphrase': { type: 'string', secret: true, describe: 'Passphrase of an encrypted --key' },
  ca: {
    type: 'string',
    refuseEmpty: true,
    normalize: true,
    describe: 'Authorities of client certificates, PEM file; enables client certificates',
  },
  'client-cert': {
    type: 'string',
    choices: ['required', 'optional'],
    describe: 'Whether --ca requires a client certificate. Default: required',
  },
  storage: {
    type: 'string',
    default: 'memory',
    describe: 'Storage: a built-in such as redis, a ./file or a package; also STORAGE_OBJECT_MODULE',
  },
  compress: {
    type: 'boolean',
    default: false,
    describe: 'Compress messages for clients that support permessage-deflate; a broadcast is compressed once',
  },
  'compress-threshold': {
    type: 'number',
    default: 1024,
    min: 0,
    integer: true,
    describe: 'Smallest message to compress, in bytes',
  },
  'max-payload': {
    type: 'number',
    default: 1_048_576,
    min: 1,
    max: MAX_PAYLOAD,
    integer: true,
    describe: `Largest received message in bytes, up to ${MAX_PAYLOAD}; a larger one closes the client with 1009`,
  },
  'max-control': {
    type: 'number',
    default: 100,
    min: 0,
    integer: true,
    describe:
      'Pings, pongs and empty fragments per second from each client, twice as many in a burst; more closes it with 1008; 0 disables the limit',
  },
  'max-buffered': {
    type: 'number',
    default: 1_048_576,
    min: 1,
    integer: true,
    describe: 'Bytes queued per client, in each direction',
  },
  'max-queued': {
    type: 'number',
    default: 256,
    min: 1,
    integer: true,
    describe: 'Messages queued per client for the filters before its socket is paused',
  },
  'slow-clients': {
    type: 'string',
    choices: ['close', 'drop'],
    default: 'close',
    describe:
      'Clients that take nothing for 5 s above --max-buffered: close them with 1013, or drop their messages and count those',
  },
  'max-clients': {
    type: 'number',
    default: 10_000,
    min: 1,
    integer: true,
    describe: 'Concurrent clients; further ones are refused with 503',
  },
  heartbeat: {
    type: 'number',
    default: 30,
    min: 0,
    max: MAX_SECONDS,
    describe: 'Seconds between pings; clients that do not answer are disconnected; 0 disables',
  },
  'filter-timeout': {
    type: 'number',
    default: 30,
    min: 0,
    max: MAX_SECONDS,
    describe: "Seconds for a filter's promise to settle; 0 disables the limit",
  },
  'handshake-timeout': {
    type: 'number',
    default: 10,
    min: 0,
    max: MAX_SECONDS,
    describe: 'Seconds for request headers, and for all connect filters; 0 disables the limit',
  },
  'hold-timeout': {
    type: 'number',
    default: 10,
    min: 0,
    max: MAX_SECONDS,
    describe: 'Seconds until a client on hold is closed with 1008; 0 disables the limit',
  },
  drain: {
    type: 'number',
    default: 10,
    min: 0,
    max: MAX_SECONDS,
    describe: 'Seconds to finish pending work and close clients when stopping',
  },
  'log-level': {
    type: 'string',
    choices: ['trace', 'debug', 'info', 'warn', 'error', 'fatal', 'silent'],
    default: 'info',
    describe: 'Lowest level of diagnostics on standard error',
  },
  'log-format': {
    type: 'string',
    choices: ['auto', 'pretty', 'json'],
    default: 'auto',
    describe: 'Log format; auto is pretty in a terminal, else JSON lines',
  },
} as const satisfies OptionSpecs

export type CoreOptions = OptionValues<typeof coreOptions>

/** Switches of the command line only, not of the config file or the environment. */
export const commandOptions = {
  explain: {
    type: 'boolean',
    default: false,
    describe: 'Print the chains and the source of each option, then exit',
  },
  help: {
    type: 'boolean',
    default: false,
    alias: 'h',
    describe: 'Print this help, including the options of the chosen filters',
  },
  version: { type: 'boolean', default: false, describe: 'Print the version' },
} as const satisfies OptionSpecs

/** Converts a name to kebab-case: `redis_host` and `redisHost` to `redis-host`. */
export function kebab(name: string): string {
  return name
    .replaceAll('_', '-')
    .replace(/(?<=[a-z0-9])[A-Z]/g, capital => `-${capital}`)
    .toLowerCase()
}

/** The environment variable of an option: `FWS_REDIS_HOST` for `redis-host`. */
export function envName(option: string): string {
  return `FWS_${option.replaceAll('-', '_').toUpperCase()}`
}
