import type { OptionSpecs, OptionValues } from 'filtered-websocket'

export const options = {
  'redis-url': {
    type: 'string',
    secret: true,
    describe: 'redis://[user:password@]host[:port], or rediss:// for TLS; in place of host, port, user and password',
  },
  'redis-host': { type: 'string', default: '127.0.0.1', describe: 'host name or address' },
  'redis-port': { type: 'number', default: 6379, min: 1, max: 65_535, integer: true, describe: 'TCP port' },
  'redis-channels': { type: 'array', default: ['global'], describe: 'channels that feed the consumer chain' },
  'redis-key': {
    type: 'string',
    default: 'fws',
    describe: 'what all keys and channels between nodes begin with; nodes of one server share it',
  },
  'redis-user': { type: 'string', describe: 'ACL user; without it the default user' },
  'redis-password': { type: 'string', secret: true, describe: 'password' },
  'redis-tls': { type: 'boolean', default: false, describe: 'connect with TLS' },
  'redis-tls-ca': { type: 'string', normalize: true, describe: 'PEM file of the authority to trust; means TLS' },
  'redis-cluster': { type: 'array', default: [], describe: 'Redis Cluster: some of its nodes as host:port' },
  'redis-sentinels': { type: 'array', default: [], describe: 'sentinels as host:port; they name the master' },
  'redis-sentinel-name': { type: 'string', default: 'mymaster', describe: 'name by which sentinels know the master' },
  'redis-sentinel-password': { type: 'string', secret: true, describe: 'password of the sentinels' },
  'redis-wait': { type: 'boolean', default: false, describe: 'wait for Redis at start in place of failing' },
  'redis-timeout': {
    type: 'number',
    default: 5,
    min: 0.1,
    max: 3600,
    describe:
      'seconds without an answer after which Redis counts as lost; connections are made anew after three times that',
  },
  'redis-lease': {
    type: 'number',
    default: 15,
    min: 1,
    max: 3600,
    describe: 'seconds after which what a dead node had put into sets is gone',
  },
  'redis-buffer': {
    type: 'number',
    default: 8_388_608,
    min: 1_048_576,
    integer: true,
    describe: 'bytes that may be under way to Redis, 2 KiB more for each message; more is not sent, and counted',
  },
  'redis-history': {
    type: 'number',
    default: 1000,
    min: 1,
    integer: true,
    describe: 'entries that each history log keeps',
  },
  'redis-history-ttl': {
    type: 'number',
    default: 86_400,
    min: 0,
    integer: true,
    describe: 'seconds after its last entry that a history log is gone; 0: never',
  },
} as const satisfies OptionSpecs

export type RedisOptions = OptionValues<typeof options>
