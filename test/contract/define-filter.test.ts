import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { createServer, defineFilter, type FilterModule } from '../../src/index.ts'
import { testServer } from '../../src/testing/index.ts'
import { folder, launch, refusalInside } from '../support/cli.ts'

// `npm run types` checks these: each @ts-expect-error is an error if its line has none.

const words = defineFilter({
  describe: 'Limit messages by words',
  options: {
    'words-max': { type: 'number', default: 2 },
    'words-mode': { type: 'string', choices: ['drop', 'cut'], default: 'drop' },
    'words-note': { type: 'string' },
  },
  setup({ options, log }) {
    const max: number = options['words-max']
    const mode: 'drop' | 'cut' = options['words-mode']
    // @ts-expect-error it may be undefined
    const note: string = options['words-note']
    // @ts-expect-error there is no such option
    log.debug(`${mode} ${note} ${options['words-min']}`)
    return {
      message: (payload, client) => (payload.toString().split(' ').length > max ? client.drop('too long') : undefined),
    }
  },
})

const upper = {
  message: (payload, client) => (client.identity === 'ann' ? undefined : payload.toString().toUpperCase()),
} satisfies FilterModule

export const message = ((payload, client) => client.send(payload)) satisfies FilterModule['message']

describe('a filter whose types are inferred', () => {
  it('runs as it is', async t => {
    const server = await testServer([words, upper, { message }])
    t.after(() => server.stop())
    const peer = await server.connect()
    for (const text of ['a b', 'a b c', 'c']) await peer.say(text)
    assert.deepEqual(peer.received, ['A B', 'C'])
  })

  it('may be the default export of a file, with an option of its own', async t => {
    const cwd = folder(t, {
      'mine.ts': `import { defineFilter } from 'filtered-websocket'
        export default defineFilter({
          options: { 'mine-text': { type: 'string', default: '!' } },
          setup: ({ options }) => ({ message: (payload: string | Buffer) => payload + options['mine-text'] }),
        })`,
    })
    const server = await launch(t, ['-p', '0', '-f', './mine', 'echo', '--mine-text', '?'], { cwd })
    const peer = await server.connect()
    peer.send('hi')
    assert.deepEqual(await peer.get(1), ['hi?'])
  })

  it('is refused with the right name of a misspelled option', async t => {
    const cwd = folder(t, {
      'mine.ts': `import { defineFilter } from 'filtered-websocket'
        export default defineFilter({ options: { 'mine-text': { type: 'string' } }, message: () => {} })`,
    })
    assert.equal(
      await refusalInside(['-f', './mine', '--mine-txt', 'a'], cwd),
      'unknown option --mine-txt; did you mean --mine-text?',
    )
  })
})

/** Never called. */
export const wrong = [
  // @ts-expect-error the name of a chain is misspelled
  () => defineFilter({ mesage: () => {} }),
  // @ts-expect-error a message handler does not return a number
  () => defineFilter({ message: payload => payload.length }),
  // @ts-expect-error there is no such type of an option
  () => defineFilter({ options: { 'a-b': { type: 'strng' } } }),
  // @ts-expect-error there is no such capability
  () => defineFilter({ needs: ['histroy'], message: () => {} }),
  // @ts-expect-error there is no such stage
  () => defineFilter({ stage: 'gaurd', message: () => {} }),
  // @ts-expect-error the name of a chain is misspelled
  () => ({ mesage: () => {} }) satisfies FilterModule,
  // @ts-expect-error a client has no such method
  () => ((_, client) => client.sned('a')) satisfies FilterModule['message'],
]

describe('createServer', () => {
  for (const [name, hint] of [
    ['prot', '; did you mean "port"?'],
    ['hots', '; did you mean "host"?'],
    ['filter', '; did you mean "filters"?'],
    ['maxPaylod', '; did you mean "max-payload"?'],
    ['rateLimitMessages', '; it belongs to filter rate-limit, which is not chosen'],
    ['max_clinets', '; did you mean "max-clients"?'],
  ] as const) {
    it(`refuses ${name}`, async () => {
      await assert.rejects(createServer({ [name]: 1 } as object), {
        code: 'ERR_CONFIG',
        message: `option ${name} is not an option${hint}`,
      })
    })
  }

  it('has types for its options, and leaves those of filters open', () => {
    const calls = [
      // @ts-expect-error misspelled
      () => createServer({ prot: 1 }),
      // @ts-expect-error misspelled
      () => createServer({ filter: ['echo'] }),
      // @ts-expect-error misspelled
      () => createServer({ hots: 'a' }),
      // @ts-expect-error a port is a number
      () => createServer({ port: '1' }),
      // @ts-expect-error there is no such level
      () => createServer({ logLevel: 'loud' }),
      () => createServer({ rateLimitMessages: 5, 'words-max': 5, words_mode: 'cut', maxPayload: 1 }),
    ]
    assert.equal(calls.length, 6)
  })
})
