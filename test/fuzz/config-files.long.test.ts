// Random config files. jazzer.js cannot guide them by coverage, since it instruments only CommonJS.
import { rmSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { it } from 'node:test'
import fc from 'fast-check'
import { coreOptions } from '../../src/config/options.ts'
import { folder } from '../support/cli.ts'
import { mutated } from './mutations.ts'
import { RememberingLoader, refusedOrTaken } from './plans.ts'
import { chooseSeed, kept } from './seed.ts'

const COUNT = 20_000

const key = fc.oneof(
  {
    weight: 8,
    arbitrary: fc.constantFrom(...Object.keys(coreOptions), 'flags', '$schema', 'rate_limit_bytes', 'maxPayload'),
  },
  { weight: 1, arbitrary: fc.constantFrom('__proto__', 'constructor', 'toString', '', 'help') },
  { weight: 1, arbitrary: fc.string({ maxLength: 10 }) },
)

const filter = fc.constantFrom('echo', 'log', 'rate-limit', 'health', 'nobody', './none', '')

const value = fc.oneof(
  fc.jsonValue({ maxDepth: 2 }),
  fc.constantFrom<unknown>(0, -1, 9000, 1e308, '0', 'true', true, false, null, [], {}, 'memory', 'redis', '*'),
  fc.array(
    fc.oneof(
      filter,
      fc.tuple(filter, fc.dictionary(fc.constantFrom('max', 'messages', 'x'), fc.jsonValue({ maxDepth: 0 }))),
    ),
    { maxLength: 3 },
  ),
)

const text = fc.oneof(
  { weight: 20, arbitrary: fc.dictionary(key, value, { maxKeys: 5 }).map(config => JSON.stringify(config, null, 1)) },
  { weight: 2, arbitrary: fc.json() },
  { weight: 1, arbitrary: fc.string({ maxLength: 60 }) },
  { weight: 1, arbitrary: fc.nat(3000).map(depth => '['.repeat(depth)) },
  {
    weight: 1,
    arbitrary: fc.constantFrom('// only', '/* open', '# only', '\uFEFF{}', '{"port": 1, "port": 2}', '{"a": 1,}'),
  },
)

it(`${COUNT} random config files are accepted, or refused in one sentence`, { timeout: 280_000 }, async t => {
  const seed = chooseSeed()
  t.diagnostic(`FUZZ_SEED=${seed}`)
  const loader = new RememberingLoader()
  const base = folder(t)
  const path = join(base, 'config.json')
  await fc.assert(
    fc.asyncProperty(mutated(text.map(json => Buffer.from(json))), async bytes => {
      // A new file each time, since truncating a file is slow.
      rmSync(path, { force: true })
      writeFileSync(path, bytes)
      await refusedOrTaken({ argv: ['-c', path], base }, loader)
    }),
    { seed, numRuns: COUNT, examples: kept<string>('configFiles').map((json): [Buffer] => [Buffer.from(json)]) },
  )
})
