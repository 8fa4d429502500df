import type { OptionSpecs, OptionValues } from 'filtered-websocket'

export const options = {
  'jwt-secret': {
    type: 'string',
    secret: true,
    describe: 'Secret shared with the issuer. HS256 needs 32 bytes or more',
  },
  'jwt-public-key': { type: 'string', normalize: true, describe: 'Public key of the issuer, PEM file' },
  'jwt-jwks-url': {
    type: 'string',
    describe: 'URL of the public keys of the issuer (JWKS): https, on loopback also http',
  },
  'jwt-algorithms': {
    type: 'array',
    refuseEmpty: true,
    default: [],
    describe:
      'Accepted algorithms. Default: HS256 with a secret, the one that fits a public key, RS256, ES256 and EdDSA with a JWKS',
  },
  'jwt-issuer': { type: 'array', refuseEmpty: true, default: [], describe: 'Accepted issuers (iss). Default: any' },
  'jwt-audience': { type: 'array', refuseEmpty: true, default: [], describe: 'Accepted audiences (aud). Default: any' },
  'jwt-require': {
    type: 'array',
    refuseEmpty: true,
    separator: ' ',
    default: [],
    describe:
      'Required claims, NAME=VALUE or NAME=VALUE,VALUE for alternatives, such as client_id=abc. NAME may be nested: a.b',
  },
  'jwt-clock-tolerance': {
    type: 'number',
    default: 5,
    min: 0,
    max: 300,
    describe: 'Tolerated difference of clocks, seconds',
  },
  'jwt-max-age': {
    type: 'number',
    refuseEmpty: true,
    min: 1,
    describe: 'Maximum seconds since a token was issued (iat). Without it tokens need exp',
  },
  'jwt-cookie': { type: 'string', describe: 'Cookie with the token. Restrict --origins when you use it' },
  'jwt-query': { type: 'boolean', default: false, describe: 'Accept ?token=TOKEN; proxies may log it' },
  'jwt-first-message': {
    type: 'boolean',
    default: false,
    describe: 'Keep clients without a token pending until they send {"auth":"TOKEN"}',
  },
  'jwt-grace': {
    type: 'number',
    default: 10,
    min: 0,
    describe: 'Seconds between the expiry of a token and the close of its client',
  },
  'jwt-topics': { type: 'string', describe: 'Claim with a topic, or an array of topics, that the client joins' },
  'jwt-max-token': {
    type: 'number',
    default: 8192,
    min: 64,
    max: 65_536,
    integer: true,
    describe: 'Maximum characters of a token',
  },
} as const satisfies OptionSpecs

export type JwtOptions = OptionValues<typeof options>
