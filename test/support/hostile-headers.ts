/** Host headers that are not a host with an optional port. */
export const MALFORMED_HOSTS = [
  '',
  'local host',
  'user@localhost',
  'localhost/path',
  'localhost:port',
  '[::1',
  'a,b@c',
  'h\u00f6st',
]

/** Host headers that name another server than one on loopback with this port. */
export const foreignHosts = (port: string) => [
  'evil.example',
  `evil.example:${port}`,
  '10.0.0.1',
  'localhost.evil.example',
  '127.0.0.1.evil',
]

/** Origins that are not the one of a server on loopback, with the part that differs. */
export const FOREIGN_ORIGINS = [
  ['http://evil.example', 'host'],
  ['http://127.0.0.1:1', 'port'],
  ['http://localhost', 'host'],
] as const

/** Origins that are not those of a server. */
export const NO_ORIGINS = ['null', '', 'file://', 'nonsense']

/** A value of `--origins`, and origins with whether it allows them. */
export const LISTED_ORIGINS = {
  origins: ['https://a.example', 'http://b.example:8080'],
  cases: [
    ['https://a.example', true],
    ['https://a.example:443', true],
    ['http://b.example:8080', true],
    ['http://a.example', false],
    ['https://b.example:8080', false],
    ['https://sub.a.example', false],
    ['https://a.example.evil', false],
  ],
} as const
