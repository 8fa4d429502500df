import type { OptionSpecs, OptionValues } from 'filtered-websocket'

export const options = {
  'redis-url': {
    type: 'string',
    secret: true,
    describe: 'URL redis://[user:password@]host[:port], or rediss:// for TLS; replaces host, port, user and password',
  },
  'redis-host': { type: 'string', default: '127.0.0.1', describe: 'Host name or address of Redis' },
  'redis-port': { type: 'number', default: 6379, min: 1, max: 65_535, integer: true, describe: 'TCP port of Redis' },
  'redis-channels': { type: 'array', default: ['global'], describe: 'Channels that feed the consumer chain' },
  'redis-key': {
    type: 'string',
    default: 'fws',
    describe: 'Prefix of keys and of channels between nodes; the same for all nodes of one server',
  },
  'redis-user': { type: 'string', describe: 'ACL user. Default: the default user of Redis' },
  'redis-password': { type: 'string', secret: true, describe: 'Password of the ACL user' },
  'redis-tls': { type: 'boolean', refuseEmpty: true, default: false, describe: 'Connect with TLS' },
  'redis-tls-ca': {
    type: 'string',
    refuseEmpty: true,
    normalize: true,
    describe: 'Trusted authorities, PEM file; enables TLS',
  },
  'redis-cluster': { type: 'array', default: [], describe: 'Seed nodes of a Redis Cluster as host:port' },
  'redis-sentinels': { type: 'array', default: [], describe: 'Redis Sentinels as host:port, which name the master' },
  'redis-sentinel-name': { type: 'string', default: 'mymaster', describe: 'Name of the master in Sentinel' },
  'redis-sentinel-password': { type: 'string', secret: true, describe: 'Password of the Sentinels' },
  'redis-wait': { type: 'boolean', default: false, describe: 'Wait for Redis at the start instead of failing' },
  'redis-timeout': {
    type: 'number',
    default: 5,
    min: 0.1,
    max: 3600,
    describe:
      'Seconds without an answer until Redis counts as lost; connections are replaced after three times as long',
  },
  'redis-lease': {
    type: 'number',
    default: 15,
    min: 1,
    max: 3600,
    describe: 'Seconds until the set members of a dead node expire',
  },
  'redis-buffer': {
    type: 'number',
    default: 8_388_608,
    min: 1_048_576,
    integer: true,
    describe: 'Bytes in flight to Redis, plus 2 KiB per message; further messages are not sent, and counted',
  },
} as const satisfies OptionSpecs

export type RedisOptions = OptionValues<typeof options>
