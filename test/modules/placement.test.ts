import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { pathToFileURL } from 'node:url'
import { pino } from 'pino'
import { readGiven } from '../../src/config/config-file.ts'
import type { FilterModule, Host } from '../../src/contract/filter.ts'
import { createServer } from '../../src/index.ts'
import { assemble } from '../../src/lifecycle/assembly.ts'
import { explain } from '../../src/lifecycle/explain.ts'
import { makePlan, type Plan } from '../../src/lifecycle/plan.ts'
import { createLoader } from '../../src/lifecycle/server.ts'
import { EXTENSION, ROOT } from '../../src/root.ts'
import { testServer } from '../../src/testing/index.ts'
import { Peer, until } from '../support/peer.ts'
import { root } from '../support/root.ts'
import { startTestServer as serve } from '../support/test-server.ts'

declare module 'filtered-websocket' {
  interface FilterApis {
    'placement-counter': { next(): number }
    'placement-other': { name: string }
  }
}

type Filters = Parameters<typeof testServer>[0]

const source = pathToFileURL(`${root}/`)
const home = process.cwd()
let folder = ''

// A folder per test, since modules are cached by path.
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'fws-placement-'))
  // Bare names are resolved in the working directory last.
  process.chdir(folder)
})
afterEach(() => {
  process.chdir(home)
  rmSync(folder, { recursive: true })
})

/** A file in the working directory of these tests. */
function file(name: string, text: string): string {
  const path = join(folder, name)
  writeFileSync(path, text)
  return path
}

/** A filter file that prints its calls. */
function telling(name: string, { uses = [], extra = '' }: { uses?: string[]; extra?: string } = {}): string {
  return file(
    `${name}.mjs`,
    `export const uses = ${JSON.stringify(uses)}
    ${extra}
    export const setup = host => {
      const say = what => host.stdout.write('${name} ' + what + '\\n')
      say('setup')
      let count = 0
      const apis = uses.map(name => host.use(name))
      return {
        api: { name: '${name}', next: () => ++count },
        start: () => say('start'),
        stop: () => say('stop'),
        message: () => say(['message', ...apis.map(api => api?.next())].join(' ')),
      }
    }`,
  )
}

/** The output of the setup, of one message, and of the stop. */
async function printed(filters: Filters, options: Readonly<Record<string, unknown>> = {}): Promise<readonly string[]> {
  const server = await testServer(filters, options)
  const peer = await server.connect()
  await peer.say('x')
  await server.stop()
  return server.printed.trimEnd().split('\n')
}

const only = (lines: readonly string[], what: string) =>
  lines.filter(line => line.includes(` ${what}`)).map(line => line.replace(` ${what}`, ''))

function planOf(filters: Filters, options: Readonly<Record<string, unknown>> = {}): Promise<Plan> {
  return makePlan({ given: readGiven({ ...options, filters }, folder), base: folder }, createLoader())
}

const nothing: FilterModule = { message: () => {} }

describe('uses', () => {
  it('loads a used filter once, and places it before its first user', async () => {
    telling('placement-counter')
    for (const name of ['first', 'one', 'two', 'last'])
      telling(name, { uses: name === 'one' || name === 'two' ? ['placement-counter'] : [] })
    const lines = await printed(['first', 'one', 'two', 'last'])
    assert.deepEqual(only(lines, 'start'), ['first', 'placement-counter', 'one', 'two', 'last'])
    assert.deepEqual(only(lines, 'message'), ['first', 'placement-counter', 'one 1', 'two 2', 'last'])
    assert.deepEqual(
      only(lines, 'setup').filter(name => name === 'placement-counter'),
      ['placement-counter'],
    )
  })

  it('keeps the position of a filter in -f, and sets it up first', async () => {
    telling('placement-counter')
    telling('one', { uses: ['placement-counter'] })
    const before = await printed(['placement-counter', 'first', 'one'].map(name => (name === 'first' ? nothing : name)))
    assert.deepEqual(only(before, 'message'), ['placement-counter', 'one 1'])
    const after = await printed(['one', 'placement-counter'])
    assert.deepEqual(only(after, 'setup'), ['placement-counter', 'one'])
    assert.deepEqual(only(after, 'message'), ['one 1', 'placement-counter'])
  })

  it('finds a filter that -f names by its path', async () => {
    const path = telling('placement-counter')
    telling('one', { uses: ['placement-counter'] })
    const lines = await printed([path, 'one'])
    assert.deepEqual(only(lines, 'message'), ['placement-counter', 'one 1'])
  })

  it('is recursive: a used filter may use another', async () => {
    telling('placement-counter')
    telling('middle', { uses: ['placement-counter'] })
    telling('top', { uses: ['middle'] })
    const lines = await printed(['top'])
    assert.deepEqual(only(lines, 'setup'), ['placement-counter', 'middle', 'top'])
    assert.deepEqual(only(lines, 'message'), ['placement-counter', 'middle 1', 'top 1'])
  })

  it('loads a filter once that two filters use by the same path', async () => {
    telling('placement-counter')
    telling('one', { uses: ['./placement-counter'] })
    telling('two', { uses: ['./placement-counter'] })
    assert.deepEqual(only(await printed(['one', 'two']), 'message'), ['placement-counter', 'one 1', 'two 2'])
  })

  it('accepts built-ins, also from a filter passed as a module', async t => {
    const server = await serve(t, [{ uses: ['echo'], message: payload => `${payload}!` }])
    const { received, say } = await server.connect()
    await say('hi')
    assert.deepEqual(received, ['hi'], 'echo stands before its user')
  })

  it('adds the options of the filter', async t => {
    file(
      'polite.mjs',
      `export const options = { 'polite-word': { type: 'string', default: 'please', describe: 'the word' } }
      export const setup = ({ options }) => ({ api: { next: () => options['polite-word'] } })`,
    )
    telling('asking', { uses: ['polite'] })
    const server = await serve(t, ['asking'], { 'polite-word': 'kindly' })
    await (await server.connect()).say('x')
    assert.match(server.printed, /asking message kindly/)
    await assert.rejects(testServer(['asking'], { 'polite-wrod': 'x' }), {
      code: 'ERR_CONFIG',
      message: 'option polite-wrod is not an option; did you mean "polite-word"?',
    })
  })

  it('gives each server its own', async t => {
    telling('placement-counter')
    telling('one', { uses: ['placement-counter'] })
    for (let i = 0; i < 2; i++) {
      const server = await serve(t, ['one'])
      await (await server.connect()).say('x')
      assert.match(server.printed, /one message 1\n/)
    }
  })

  it('returns undefined if the filter has no API', async t => {
    file('plain.mjs', 'export const message = () => {}')
    let api: unknown = 'not asked'
    await serve(t, [
      {
        uses: ['plain'],
        setup(host) {
          api = host.use('plain' as never)
        },
        ...nothing,
      },
    ])
    assert.equal(api, undefined)
  })

  it('in a circle is refused, naming all of it', async () => {
    telling('a', { uses: ['b'] })
    telling('b', { uses: ['c'] })
    telling('c', { uses: ['a'] })
    telling('self', { uses: ['self'] })
    for (const filters of [['a'], ['a', 'b', 'c']]) {
      await assert.rejects(testServer(filters), {
        code: 'ERR_FILTER',
        message: 'filters use each other in a circle: a -> b -> c -> a',
      })
    }
    await assert.rejects(testServer(['self']), {
      code: 'ERR_FILTER',
      message: 'filters use each other in a circle: self -> self',
    })
  })

  it('of a missing filter is refused like a wrong -f', async () => {
    telling('lost', { uses: ['ehco'] })
    await assert.rejects(testServer(['lost']), (error: Error & { code: string }) => {
      assert.equal(error.code, 'ERR_MODULE')
      assert.equal(error.message.split('\n')[0], 'no filter "ehco", which lost uses; did you mean "echo"?')
      return true
    })
  })

  it('must list the filters of host.use', async () => {
    telling('placement-other')
    const path = file('sly.mjs', `export const setup = host => { host.use('placement-other') }`)
    await assert.rejects(testServer(['placement-other', './sly']), {
      code: 'ERR_FILTER',
      message: `setup of filter ./sly (${path}:1) failed: filter ./sly uses "placement-other" without listing it in uses\n> 1 | export const setup = host => { host.use('placement-other') }`,
    })
  })

  it('may be optional: only a filter that the operator named, or another uses, is found, and set up first', async () => {
    telling('placement-counter')
    const seen: unknown[] = []
    const curious = (extra = {}): FilterModule => ({
      ...nothing,
      mayUse: ['placement-counter', 'echo'],
      setup: host => {
        seen.push(host.find('placement-counter')?.next(), host.find('echo' as never))
      },
      ...extra,
    })
    for (const [filters, found] of [
      [[curious()], undefined],
      [[curious(), 'placement-counter'], 1],
      [[curious(), { ...nothing, uses: ['placement-counter'] }], 1],
    ] as const) {
      seen.length = 0
      await testServer(filters as Filters).then(server => server.stop())
      assert.deepEqual(seen, [found, undefined])
    }
    const sly = curious({ setup: (host: Host) => void host.find('placement-other') })
    await assert.rejects(testServer([sly]), {
      code: 'ERR_FILTER',
      message: /filter inline finds "placement-other" without listing it in mayUse$/,
    })
    file('optional.mjs', `export const mayUse = ['user']\nexport const message = () => {}`)
    telling('user', { uses: ['optional'] })
    await assert.rejects(testServer(['user']), {
      code: 'ERR_FILTER',
      message: 'filters use each other in a circle: user -> optional -> user',
    })
  })

  it('must be an array of names', async () => {
    await assert.rejects(testServer([{ ...nothing, uses: 'echo' as never }]), {
      code: 'ERR_FILTER',
      message: 'filter inline: its export "uses" must be an array of names, received string',
    })
  })
})

describe('needs', () => {
  beforeEach(() => {
    file('few.mjs', 'export const open = () => ({ sets: {}, values: {}, bus: {} })')
    file('bare.mjs', 'export const open = () => ({})')
  })

  it('a missing capability is refused, naming the filter and the capabilities of the storage', async () => {
    file('keeper.mjs', `export const needs = ['sets', 'streams']\nexport const message = () => {}`)
    await assert.rejects(testServer(['keeper'], { storage: './few' }), {
      code: 'ERR_FILTER',
      message: '-f keeper needs a storage with "streams"; storage "few" has sets, values, bus',
    })
    await assert.rejects(testServer(['keeper'], { storage: './bare' }), {
      code: 'ERR_FILTER',
      message: '-f keeper needs a storage with "sets"; storage "bare" has nothing',
    })
  })

  it('that are met start', async t => {
    await serve(t, [{ ...nothing, needs: ['sets', 'values', 'bus', 'streams'] }])
    await serve(t, [{ ...nothing, needs: ['sets', 'bus'] }], { storage: './few' })
  })

  it('are checked before any filter is set up, and the storage is closed again', async () => {
    const text = (label: string) => `log.info('${label}')`
    file('closing.mjs', `export const open = ({ log }) => ({ close: () => ${text('storage closed')} })`)
    const needy: FilterModule = { ...nothing, needs: ['bus'] }
    const plan = await planOf([{ setup: () => assert.fail('set up') }, needy], { storage: './closing' })
    const lines: string[] = []
    const log = pino({ base: null }, { write: line => void lines.push(JSON.parse(line).msg) })
    await assert.rejects(assemble(plan, { log }), {
      message: '-f inline needs a storage with "bus"; storage "closing" has nothing',
    })
    assert.deepEqual(lines, ['storage closed'])
  })

  it('that are not listed throw on access', async t => {
    const server = await serve(
      t,
      [
        {
          setup: ({ storage }) => ({
            message: () => void storage.streams.isReady(),
          }),
        },
      ],
      { storage: './few' },
    )
    await (await server.connect()).say('x')
    const failed = server.logged.find(line => line.level === 50)!
    assert.equal(
      (failed.err as Error).message,
      'storage "few" has no "streams", it has sets, values, bus; list it in needs',
    )
  })
})

describe('stage', () => {
  it('allows a guard to use another filter, which is placed among the guards', async () => {
    const server = await testServer([{ stage: 'guard', uses: ['echo'], message: () => undefined }, 'broadcast'])
    await server.stop()
  })

  it('lets a guard build on filters that use others, which are all placed among the guards', async () => {
    for (const [name, uses] of [
      ['base', []],
      ['middle', ['base']],
      ['upper', ['middle', 'base']],
      ['top', ['upper']],
    ] as const)
      telling(name, { uses: [...uses] })
    for (const used of ['base', 'middle', 'upper', 'top', 'messaging']) {
      const server = await testServer([guard, { ...guard, uses: [used] }, 'broadcast'])
      await server.stop()
    }
    await assert.rejects(testServer(['upper', { ...guard, uses: ['top'] }]), { code: 'ERR_FILTER' })
    telling('plain', { uses: ['base'] })
    await assert.rejects(testServer(['plain', { ...guard, uses: ['top'] }]), { code: 'ERR_FILTER' })
  })

  const guard: FilterModule = { ...nothing, stage: 'guard' }
  beforeEach(() => {
    for (const name of ['gate', 'door'])
      file(`${name}.mjs`, `export const stage = 'guard'\nexport const message = () => {}`)
  })

  it('a guard after another filter is refused with the right order', async () => {
    await assert.rejects(testServer(['broadcast', 'gate']), {
      code: 'ERR_FILTER',
      message: 'gate is a guard and must stand before broadcast: -f gate broadcast',
    })
  })

  it('the right order keeps the order among guards and among the others', async () => {
    await assert.rejects(testServer(['rate-limit', 'log', 'gate', 'broadcast', './door']), {
      code: 'ERR_FILTER',
      message: 'gate is a guard and must stand before log: -f rate-limit gate ./door log broadcast',
    })
  })

  it('guards before all others start', async t => {
    await serve(t, ['gate', guard, 'door', 'broadcast', nothing])
    await serve(t, ['gate'])
  })

  it('holds for a guard that is only used', async () => {
    telling('user', { uses: ['gate'] })
    await assert.rejects(testServer(['broadcast', 'user']), {
      code: 'ERR_FILTER',
      message: 'gate is a guard and must stand before broadcast: -f gate broadcast user',
    })
  })

  it('of an optional guard is decided by its place, which the filter sees', async () => {
    const optional: FilterModule = { stage: 'optional', setup: ({ isGuard }) => void seen.push(isGuard), ...nothing }
    const seen: boolean[] = []
    for (const given of [[optional, { guard: true }], [optional, { guard: false }], optional] as const)
      await (await testServer(['gate', given, 'broadcast'])).stop()
    assert.deepEqual(seen, [true, false, false])
    await assert.rejects(testServer(['broadcast', [optional, { guard: true }]]), {
      code: 'ERR_FILTER',
      message: 'inline is a guard and must stand before broadcast: -f inline broadcast',
    })
    await assert.rejects(testServer([[optional, { guard: 'yes' }]]), {
      code: 'ERR_CONFIG',
      message: 'option guard takes true or false, received "yes"',
    })
  })

  it('of an observer permits every place, also among guards', async () => {
    const observer: FilterModule = { ...nothing, stage: 'observer' }
    for (const filters of [
      [observer, 'gate', 'broadcast'],
      ['gate', observer, 'broadcast'],
      ['gate', 'broadcast', observer],
    ])
      await (await testServer(filters)).stop()
    await assert.rejects(testServer([observer, 'broadcast', 'gate']), {
      message: 'gate is a guard and must stand before broadcast: -f inline gate broadcast',
    })
  })

  it('is "guard", "optional", "observer" or left out', async () => {
    await assert.rejects(testServer([{ ...nothing, stage: 'first' as never }]), {
      code: 'ERR_FILTER',
      message: 'filter inline: its export "stage" must be "guard", "optional", "observer" or left out, received string',
    })
  })
})

describe('limits', () => {
  const KIB = 1024
  const raising = (limits: NonNullable<FilterModule['limits']>): FilterModule => ({ ...nothing, limits })
  const settingOf = (plan: Plan, name: string) => {
    const { value, source } = plan.settings.get(name)!
    return { value, source }
  }

  it('raise a default, with the filter as the source', async () => {
    file('frames.mjs', `export const limits = { 'max-payload': 4194304 }\nexport const message = () => {}`)
    const plan = await planOf(['frames'])
    assert.deepEqual(settingOf(plan, 'max-payload'), { value: 4 * KIB * KIB, source: 'filter frames' })
    assert.deepEqual(settingOf(plan, 'max-buffered'), { value: KIB * KIB, source: 'default' })
  })

  it('of several filters the largest holds', async () => {
    for (const [name, mebibytes] of [
      ['two', 2],
      ['eight', 8],
      ['four', 4],
    ] as const)
      file(
        `${name}.mjs`,
        `export const limits = { 'max-buffered': ${mebibytes * KIB * KIB} }\nexport const open = () => {}`,
      )
    const plan = await planOf(['two', 'eight', 'four'])
    assert.deepEqual(settingOf(plan, 'max-buffered'), { value: 8 * KIB * KIB, source: 'filter eight' })
  })

  it('never lower a default', async () => {
    const plan = await planOf([raising({ 'max-payload': 10 })])
    assert.deepEqual(settingOf(plan, 'max-payload'), { value: KIB * KIB, source: 'default' })
  })

  it("the operator's own value wins, smaller or larger, whatever its layer", async () => {
    const module = raising({ 'max-payload': 4 * KIB * KIB })
    for (const maxPayload of [1000, 9 * KIB * KIB]) {
      const plan = await planOf([module], { maxPayload })
      assert.deepEqual(settingOf(plan, 'max-payload'), { value: maxPayload, source: 'createServer' })
    }
    file('frames.mjs', `export const limits = { 'max-payload': 4194304 }\nexport const message = () => {}`)
    const sources = { base: folder, argv: ['-f', 'frames'], env: { FWS_MAX_PAYLOAD: '2000' } }
    const byEnvironment = await makePlan(sources, createLoader())
    assert.deepEqual(settingOf(byEnvironment, 'max-payload'), { value: 2000, source: 'env FWS_MAX_PAYLOAD' })
    const byFlag = await makePlan({ ...sources, argv: [...sources.argv, '--max-payload', '3000'] }, createLoader())
    assert.deepEqual(settingOf(byFlag, 'max-payload'), { value: 3000, source: 'flag' })
  })

  it('show in --explain', async () => {
    file('frames.mjs', `export const limits = { 'max-payload': 4194304 }\nexport const message = () => {}`)
    const plan = await planOf(['frames'])
    const assembly = await assemble(plan, { log: pino({ level: 'silent' }) })
    assert.match(explain(plan, assembly, folder), /^ {2}max-payload +4194304 +filter frames$/m)
    await assembly.close()
  })

  it('hold on the wire: a message past the default passes', async t => {
    const server = await createServer({
      port: 0,
      logLevel: 'silent',
      filters: [raising({ 'max-payload': 2 * KIB * KIB }), { message: (p, client) => client.send(`${p.length}`) }],
    })
    t.after(() => server.close())
    const peer = await Peer.open(server.url)
    peer.send('x'.repeat(1.5 * KIB * KIB))
    assert.deepEqual(await peer.get(1), [`${1.5 * KIB * KIB}`])
    peer.send('x'.repeat(2 * KIB * KIB + 1))
    assert.equal((await peer.end()).code, 1009)
  })

  it('with an unknown name are refused', async () => {
    await assert.rejects(planOf([raising({ 'max-payloads': 10 } as never)]), (error: Error & { code: string }) => {
      assert.equal(error.code, 'ERR_FILTER')
      assert.match(error.message, /^filter inline: .*"max-payloads"/)
      return true
    })
  })
})

describe('one module at several positions', () => {
  /** Counts its messages, and prints the count with its options. */
  const counting: FilterModule = {
    options: {
      'inline-word': { type: 'string', default: 'none', describe: 'a word' },
      'inline-times': { type: 'number', default: 1, describe: 'a number' },
    },
    setup({ options, stdout }: Host) {
      let count = 0
      return {
        message: () => stdout.write(`${++count} ${options['inline-word']} ${options['inline-times']}\n`),
      }
    },
  }

  it('has its own state at each position', async t => {
    const server = await serve(t, [
      counting,
      { message: (p, client) => (p === 'stop' ? client.drop() : undefined) },
      counting,
    ])
    const { say } = await server.connect()
    await say('stop')
    await say('x')
    assert.equal(server.printed, '1 none 1\n2 none 1\n1 none 1\n')
  })

  it('loaded by name has its own state at each position', async t => {
    file(
      'tally.mjs',
      'export const setup = ({ stdout }) => { let n = 0; return { message: () => stdout.write(String(++n)) } }',
    )
    const server = await serve(t, ['tally', './tally.mjs'])
    const { say } = await server.connect()
    await say('x')
    await say('x')
    assert.equal(server.printed, '1122')
  })

  it('has the options of its position, under their full or short name, over those of the server', async t => {
    const server = await serve(
      t,
      [[counting, { word: 'short' }], [counting, { 'inline-word': 'long', inlineTimes: 3 }], counting],
      { 'inline-word': 'server', 'inline-times': 2 },
    )
    await (await server.connect()).say('x')
    assert.equal(server.printed, '1 short 2\n1 long 3\n1 server 2\n')
  })

  it('refuses an unknown option at its position', async () => {
    await assert.rejects(testServer([[counting, { 'inline-wrod': 'x' }]]), {
      code: 'ERR_CONFIG',
      message: 'option inline-wrod is not an option of filter inline; did you mean "inline-word"?',
    })
  })

  it('refuses an option of another filter at its position', async () => {
    for (const foreign of [{ port: 5 }, { 'log-max': 5 }]) {
      await assert.rejects(testServer(['log', [counting, foreign]]), { code: 'ERR_CONFIG' }, Object.keys(foreign)[0])
    }
  })

  it('refuses a wrong value at its position', async () => {
    await assert.rejects(testServer([[counting, { times: 'many' }]]), (error: Error & { code: string }) => {
      assert.match(error.code, /^ERR_(OPTION|FILTER)$/)
      assert.match(error.message, /option times takes a number, received "many"$/)
      return true
    })
  })
})

describe('handlers', () => {
  it('that a module exports run, and after them those that its setup returns', async () => {
    const order: string[] = []
    const note = (text: string) => () => void order.push(text)
    const server = await testServer([
      {
        message: [note('exported 1'), note('exported 2')],
        open: note('exported open'),
        start: note('exported start'),
        stop: note('exported stop'),
        setup: () => ({
          message: note('returned'),
          disconnect: [note('returned disconnect 1'), note('returned disconnect 2')],
          start: note('returned start'),
          stop: note('returned stop'),
        }),
      },
      { message: note('next filter') },
    ])
    const { say, leave } = await server.connect()
    await say('x')
    await leave()
    await server.stop()
    assert.deepEqual(order, [
      'exported start',
      'returned start',
      'exported open',
      'exported 1',
      'exported 2',
      'returned',
      'next filter',
      'returned disconnect 1',
      'returned disconnect 2',
      'returned stop',
      'exported stop',
    ])
  })

  it('are functions or arrays of functions', async () => {
    for (const [message, called] of [
      ['text', 'string'],
      [[() => {}, 'text'], 'object'],
      [{}, 'object'],
    ] as const) {
      await assert.rejects(testServer([{ message: message as never }]), {
        code: 'ERR_FILTER',
        message: `filter inline: its export "message" must be a function, or an array of functions, received ${called}`,
      })
    }
  })
})

describe('start and stop', () => {
  const noting = (name: string, order: string[], more: FilterModule = {}): FilterModule => ({
    start: () => void order.push(`start ${name}`),
    stop: () => void order.push(`stop ${name}`),
    ...more,
  })
  const quiet = { port: 0, logLevel: 'silent' } as const

  it('run in order, and in reverse', async () => {
    const order: string[] = []
    const server = await createServer({ ...quiet, filters: ['a', 'b', 'c'].map(name => noting(name, order)) })
    await server.close()
    assert.deepEqual(order, ['start a', 'start b', 'start c', 'stop c', 'stop b', 'stop a'])
  })

  it('are waited for, one after the other', async () => {
    const order: string[] = []
    const slow = (name: string): FilterModule => ({
      async start() {
        await turn()
        order.push(`start ${name}`)
      },
      async stop() {
        await turn()
        order.push(`stop ${name}`)
      },
    })
    const server = await createServer({ ...quiet, filters: [slow('a'), slow('b')] })
    await server.close()
    assert.deepEqual(order, ['start a', 'start b', 'stop b', 'stop a'])
  })

  it('a failing start refuses the server, and undoes what was started', async () => {
    const order: string[] = []
    const path = file('failing.mjs', `export const start = () => { throw new Error('no licence') }`)
    await assert.rejects(createServer({ ...quiet, filters: [noting('a', order), './failing', noting('c', order)] }), {
      code: 'ERR_START',
      message: `start of filter ./failing (${path}:1) failed: no licence\n> 1 | export const start = () => { throw new Error('no licence') }`,
    })
    assert.deepEqual(order, ['start a', 'stop a'])
  })

  it('a start may report a mistake of the operator, as a setup may', async () => {
    file(
      'mistaken.mjs',
      `export const start = () => { throw Object.assign(new Error('no way in'), { code: 'ERR_OPTION' }) }`,
    )
    await assert.rejects(createServer({ ...quiet, filters: ['./mistaken'] }), {
      code: 'ERR_OPTION',
      message: 'filter ./mistaken: no way in',
    })
  })

  it('a filter whose start fails is stopped too', async () => {
    const order: string[] = []
    const half = noting('half', order, {
      async start() {
        order.push('start half')
        throw new Error('no')
      },
    })
    await assert.rejects(createServer({ ...quiet, filters: [half] }), { code: 'ERR_START' })
    assert.deepEqual(order, ['start half', 'stop half'])
  })

  it('a failing stop does not prevent the others', async () => {
    const order: string[] = []
    const failing = noting('b', order, {
      stop() {
        order.push('stop b')
        throw new Error('no')
      },
    })
    const server = await createServer({ ...quiet, filters: [noting('a', order), failing, noting('c', order)] })
    await server.close()
    assert.deepEqual(order.slice(3), ['stop c', 'stop b', 'stop a'])
  })

  it('a start or a setup that does not settle is refused after the filter deadline', async () => {
    const options = { ...quiet, filterTimeout: 0.02 }
    file('endless.mjs', 'export const start = () => new Promise(() => {})')
    file('stuck.mjs', 'export const setup = () => new Promise(() => {})')
    await assert.rejects(createServer({ ...options, filters: ['endless'] }), {
      code: 'ERR_START',
      message: `start of filter endless (${join(folder, 'endless.mjs')}) failed: start did not settle within 0.02 s`,
    })
    await assert.rejects(createServer({ ...options, filters: ['stuck'] }), {
      code: 'ERR_FILTER',
      message: `setup of filter stuck (${join(folder, 'stuck.mjs')}) failed: setup did not settle within 0.02 s`,
    })
  })

  it('start gets the server, before clients can connect', async () => {
    const seen: unknown[] = []
    const server = await createServer({
      ...quiet,
      filters: [{ start: server => void seen.push(server.ready, server.clients.size) }],
    })
    assert.deepEqual([seen, server.ready], [[false, 0], true])
    await server.close()
  })
})

describe('host.every', () => {
  it('continues after a run that never settles, and logs it', async () => {
    let runs = 0
    const server = await testServer(
      [
        {
          setup: host => {
            host.every(5, () => (runs++ === 0 ? new Promise(() => {}) : undefined))
            return { open: () => {} }
          },
        },
      ],
      { 'filter-timeout': 0.03 },
    )
    await until(() => runs > 2)
    assert.equal(server.server.counters.errors, 1)
    assert.match(JSON.stringify(server.logged), /a run of every\(\) did not settle within 0\.03 s/)
    await server.stop()
  })

  const every = (run: () => unknown, ms = 100): FilterModule => ({
    setup: host => host.every(ms, run as () => void),
    ...nothing,
  })

  it('has ended when its filter is stopped', async t => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    let runs = 0
    const filter = every(() => void runs++)
    const server = await testServer([{ ...filter, stop: () => t.mock.timers.tick(1000) }])
    await server.stop()
    assert.equal(runs, 0)
  })

  it('repeats until the server stops', async t => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    let runs = 0
    const server = await testServer([every(() => void runs++)])
    t.mock.timers.tick(350)
    assert.equal(runs, 3)
    await server.stop()
    t.mock.timers.tick(1000)
    assert.equal(runs, 3)
  })

  it('contains errors and rejections, counts them, names the filter, and continues', async t => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    let runs = 0
    const server = await serve(t, [
      every(() => {
        runs++
        if (runs === 1) throw new Error('thrown')
        if (runs === 2) return Promise.reject(new Error('rejected'))
      }),
    ])
    for (let i = 0; i < 3; i++) {
      t.mock.timers.tick(100)
      await turn()
    }
    assert.deepEqual([runs, server.server.counters.errors], [3, 2])
    assert.deepEqual(
      server.logged.filter(line => line.level === 50).map(line => [line.msg, (line.err as Error).message]),
      [
        ['filter inline failed in its timer handler', 'thrown'],
        ['filter inline failed in its timer handler', 'rejected'],
      ],
    )
  })

  it('never overlaps itself', async t => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const finish: (() => void)[] = []
    const server = await serve(t, [every(() => new Promise<void>(resolve => void finish.push(resolve)))])
    t.mock.timers.tick(1000)
    assert.equal(finish.length, 1)
    finish[0]!()
    await turn()
    t.mock.timers.tick(100)
    assert.equal(finish.length, 2)
    assert.equal(server.server.counters.errors, 0)
  })

  it('does not keep the process alive', () => {
    const script = `import { repeat } from ${JSON.stringify(new URL('src/lifecycle/timer.ts', source).href)}
      repeat(5, () => {}, () => {})`
    const tsx = pathToFileURL(join(home, 'node_modules/tsx/dist/loader.mjs')).href
    execFileSync(process.execPath, ['--import', tsx, '--input-type=module', '-e', script], { timeout: 60_000 })
  })
})

describe('host', () => {
  async function hostOf(filters: Filters, at: number): Promise<Host> {
    const hosts: Host[] = []
    const asking: FilterModule = { setup: host => void hosts.push(host as Host), ...nothing }
    await (await testServer(filters.toSpliced(at, 0, asking))).stop()
    return hosts[0]!
  }

  it('guards names the guards of the chain, in order, to every filter', async () => {
    file('jwt.mjs', `export const stage = 'guard'\nexport const message = () => {}`)
    assert.deepEqual((await hostOf(['rate-limit', './jwt.mjs', 'broadcast'], 2)).guards, ['rate-limit', 'jwt'])
    assert.deepEqual((await hostOf(['broadcast'], 1)).guards, [])
  })

  it('options contain only those of the filter', async t => {
    const seen: unknown[] = []
    await serve(
      t,
      [
        {
          options: { 'inline-word': { type: 'string', default: 'w', describe: 'a word' } },
          setup: ({ options }: Host) => void seen.push(options),
          ...nothing,
        },
        'log',
      ],
      { 'log-max': 3 },
    )
    assert.deepEqual(seen, [{ 'inline-word': 'w' }])
  })

  it('log names the filter in every line', async t => {
    file('chatty.mjs', `export const setup = ({ log, name }) => log.info('I am ' + name)\nexport const open = () => {}`)
    const server = await serve(t, ['./chatty.mjs'])
    const line = server.logged.find(({ msg }) => msg === 'I am chatty')
    assert.equal(line?.filter, 'chatty')
  })

  it('stdout throws on access if the server has none', async () => {
    const path = new URL(`filters/stdout-messages${EXTENSION}`, ROOT).pathname
    await assert.rejects(createServer({ port: 0, logLevel: 'silent', filters: ['stdout-messages'] }), {
      code: 'ERR_FILTER',
      message: `setup of filter stdout-messages (${path}) failed: no standard output: createServer({ stdout: process.stdout })`,
    })
  })
})
