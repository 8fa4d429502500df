// Random command lines and environments. jazzer.js cannot guide them by coverage, since it instruments only CommonJS.
import { it } from 'node:test'
import fc from 'fast-check'
import { commandOptions, coreOptions, envName } from '../../src/config/options.ts'
import { folder } from '../support/cli.ts'
import { RememberingLoader, refusedOrTaken } from './plans.ts'
import { chooseSeed, kept } from './seed.ts'

const COUNT = 20_000
const NAMES = [...Object.keys(coreOptions), ...Object.keys(commandOptions), 'rate-limit-bytes', 'redis-password']

const value = fc.oneof(
  fc.constantFrom('0', '1', '-1', '9000', '65536', '1e3', '0x10', 'NaN', 'Infinity', '1e400', '', ' ', 'true', 'false'),
  fc.constantFrom(
    'broadcast',
    'echo',
    'health',
    'rate-limit',
    'log',
    'memory',
    'redis',
    'brodcast',
    './none',
    '/',
    '..',
  ),
  fc.constantFrom('*', 'http://a.example', 'http://', '\0', '__proto__', 'constructor', 'file:///none', '/dev/null'),
  fc.string({ maxLength: 12, unit: 'grapheme' }),
)

const word = fc.oneof(
  { weight: 4, arbitrary: fc.constantFrom(...NAMES).map(name => `--${name}`) },
  { weight: 4, arbitrary: fc.tuple(fc.constantFrom(...NAMES), value).map(([name, given]) => `--${name}=${given}`) },
  { weight: 6, arbitrary: value },
  {
    weight: 2,
    arbitrary: fc.constantFrom('-f', '-p', '-c', '-h', '-pf', '-p1', '--', '-', '---', '-key', '--no-compress', '--_'),
  },
  {
    weight: 2,
    arbitrary: fc.constantFrom(
      '--__proto__',
      '--__proto__.x=1',
      '--constructor=1',
      '--port.x=1',
      '--PORT',
      '--maxPayload=1',
    ),
  },
  { weight: 1, arbitrary: fc.string({ maxLength: 12 }).map(text => `--${text}`) },
)

const env = fc.dictionary(
  fc.oneof(
    fc.constantFrom(...NAMES).map(envName),
    fc.constantFrom('STORAGE_OBJECT_MODULE', 'FWS_REDIS_PASSWORD_FILE', 'FWS_', 'FWS___PROTO__'),
  ),
  value,
  { maxKeys: 2 },
)

it(`${COUNT} random option lists are accepted, or refused in one sentence`, { timeout: 280_000 }, async t => {
  const seed = chooseSeed()
  t.diagnostic(`FUZZ_SEED=${seed}`)
  const loader = new RememberingLoader()
  const base = folder(t)
  await fc.assert(
    fc.asyncProperty(fc.array(word, { maxLength: 6 }), env, (argv, variables) =>
      refusedOrTaken({ argv, env: variables, base }, loader),
    ),
    { seed, numRuns: COUNT, examples: [...kept<[string[], Record<string, string>]>('options')] },
  )
})
