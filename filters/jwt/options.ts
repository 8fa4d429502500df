import type { OptionSpecs, OptionValues } from 'filtered-websocket'

export const options = {
  'jwt-secret': { type: 'string', secret: true, describe: 'secret shared with who signs, for HS256: 32 bytes or more' },
  'jwt-public-key': { type: 'string', normalize: true, describe: 'public key of who signs, PEM file' },
  'jwt-jwks-url': {
    type: 'string',
    describe: 'https URL of the public keys of who signs (JWKS); http on loopback only',
  },
  'jwt-algorithms': {
    type: 'array',
    default: [],
    describe: 'algorithms taken; none given: HS256, or what fits the public key, or RS256 and ES256 with a JWKS',
  },
  'jwt-issuer': { type: 'array', default: [], describe: 'issuers taken (iss); none given: any' },
  'jwt-audience': { type: 'array', default: [], describe: 'audiences taken (aud); none given: any' },
  'jwt-clock-tolerance': {
    type: 'number',
    default: 5,
    min: 0,
    max: 300,
    describe: 'seconds that clocks may differ',
  },
  'jwt-max-age': {
    type: 'number',
    min: 1,
    describe: 'seconds since it was issued (iat) that a token is good for, whatever its exp; without it exp is a must',
  },
  'jwt-cookie': { type: 'string', describe: 'name of a cookie that may hold the token; mind --origins' },
  'jwt-query': { type: 'boolean', default: false, describe: 'take ?token= too; proxies and others log it' },
  'jwt-first-message': {
    type: 'boolean',
    default: false,
    describe: 'keep a client without a token on hold until it sends {"auth":"TOKEN"}',
  },
  'jwt-grace': {
    type: 'number',
    default: 10,
    min: 0,
    describe: 'seconds between the expiry of a token and the close of its client',
  },
  'jwt-topics': { type: 'string', describe: 'claim whose string, or strings, are topics that the client joins' },
  'jwt-max-token': {
    type: 'number',
    default: 8192,
    min: 64,
    max: 65_536,
    integer: true,
    describe: 'Characters of a token; a longer one is refused unread',
  },
} as const satisfies OptionSpecs

export type JwtOptions = OptionValues<typeof options>
