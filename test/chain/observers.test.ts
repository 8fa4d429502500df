import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as wait } from 'node:timers/promises'
import fc from 'fast-check'
import { compileChains } from '../../src/chain/chains.ts'
import { Deadlines } from '../../src/contract/deadline.ts'
import { DROP } from '../../src/contract/drop.ts'
import { FwsError } from '../../src/contract/errors.ts'
import type { FilterModule, Handlers } from '../../src/contract/filter.ts'
import type { HandlerCall } from '../../src/contract/observer.ts'
import { testServer } from '../../src/testing/index.ts'

const someone = () => ({ id: 'ann', position: -1, waiting: false, reach: 1000, notifyForbidden: () => {} })

/** Chains of filters named `f0`, `f1` and so on, with what was reported. */
function compile(filters: readonly Handlers[], deadline = 0) {
  const reported: [error: unknown, where: object][] = []
  const held: string[] = []
  const chains = compileChains(
    filters.map((handlers, i) => ({ name: `f${i}`, handlers })),
    {
      deadline,
      deadlines: new Deadlines(),
      held: ({ id }) => held.push(id),
      report: (error, where) => reported.push([error, where]),
    },
  )
  return { ...chains, reported, held }
}

/** The calls without their times, which must be plausible. */
function untimed(calls: readonly HandlerCall[]): unknown[] {
  return calls.map(({ nanoseconds, ...call }) => {
    assert.ok(Number.isInteger(nanoseconds) && nanoseconds >= 0 && nanoseconds < 1e10, `${nanoseconds} ns`)
    return call
  })
}

const MESSAGE = { chain: 'message', filter: 'f0', order: 0, client: 'ann' }
const VERDICTS: readonly (readonly [name: string, handler: () => unknown, seen: object])[] = [
  ['pass', () => undefined, { verdict: 'pass', before: 'in', after: 'in' }],
  ['rewrite', () => 'out', { verdict: 'rewrite', before: 'in', after: 'out' }],
  ['a rewrite with the same payload', () => 'in', { verdict: 'rewrite', before: 'in', after: 'in' }],
  ['drop', () => DROP, { verdict: 'drop', before: 'in', after: undefined }],
  [
    'a refused permit',
    () => {
      throw new FwsError('ERR_FORBIDDEN', 'not allowed')
    },
    { verdict: 'drop', before: 'in', after: undefined },
  ],
  [
    'an error',
    () => {
      throw new Error('no')
    },
    { verdict: 'fail', before: 'in', after: undefined },
  ],
  ['a wrong value', () => 42, { verdict: 'fail', before: 'in', after: undefined }],
]

describe('observers of chains', () => {
  for (const [name, handler, seen] of VERDICTS) {
    it(`get the verdict of a handler: ${name}, sync and async`, async () => {
      for (const run of [handler, async () => handler()]) {
        const { message, observers } = compile([{ message: run as never }])
        const calls: HandlerCall[] = []
        observers.add(call => calls.push(call))
        await message.run('in', someone(), { payload: 'in', at: 0 })
        assert.deepEqual(untimed(calls), [{ ...MESSAGE, ...seen }])
      }
    })
  }

  it('get a missed deadline as a failure, with its time', async () => {
    const { message, observers } = compile([{ message: () => new Promise(() => {}) }], 20)
    const calls: HandlerCall[] = []
    observers.add(call => calls.push(call))
    await message.run('in', someone())
    assert.deepEqual(untimed(calls), [{ ...MESSAGE, verdict: 'fail', before: 'in', after: undefined }])
    assert.ok(calls[0]!.nanoseconds >= 19e6)
  })

  it('get the time of a handler, with the wait for its promise', async () => {
    const { message, observers } = compile([{ message: () => wait(20) }])
    const calls: HandlerCall[] = []
    observers.add(call => calls.push(call))
    await message.run('in', someone())
    assert.ok(calls[0]!.nanoseconds >= 19e6)
  })

  it('get each handler of a chain in order, with the payload of the one before', async () => {
    const { message, observers } = compile([
      { message: () => 'a' },
      { message: async () => Buffer.from('b') },
      { message: [() => {}, () => DROP] },
      { message: () => assert.fail('reached') },
    ])
    const calls: HandlerCall[] = []
    observers.add(call => calls.push(call))
    await message.run('in', someone())
    assert.deepEqual(
      calls.map(({ filter, verdict, before, after }) => [filter, verdict, String(before), after && String(after)]),
      [
        ['f0', 'rewrite', 'in', 'a'],
        ['f1', 'rewrite', 'a', 'b'],
        ['f2', 'pass', 'b', 'b'],
        ['f2', 'drop', 'b', undefined],
      ],
    )
  })

  it('get the other chains, with a client where there is one and a payload where there is one', async () => {
    const handlers: Handlers = {
      accept: () => {},
      connect: () => {},
      open: (() => DROP) as never,
      data: () => {},
      disconnect: () => {},
      consumer: () => 'out',
      request: () => {},
      publish: () => 'out',
    }
    const chains = compile([handlers])
    const calls: HandlerCall[] = []
    chains.observers.add(call => calls.push(call))
    const chunk = Buffer.from('in')
    const publication = { topic: 'news', payload: 'in', format: undefined }
    const runs = [
      ['accept', { remote: '127.0.0.1' }],
      ['connect', someone()],
      ['open', someone()],
      ['data', chunk, { id: 'peer-1' }],
      ['disconnect', someone(), { code: 1000, reason: '', clean: true }],
      ['consumer', { channel: 'global', payload: 'in' }],
      ['request', { socket: { remoteAddress: '127.0.0.1' } }, { headersSent: false }],
      ['publish', publication, someone()],
      ['publish', publication, undefined],
    ] as const
    for (const [name, ...event] of runs) await chains[name].run(event[0] as never, event[1])
    assert.deepEqual(
      calls.map(({ chain, client, verdict, before, after }) => [chain, client, verdict, before, after]),
      [
        ['accept', undefined, 'pass', undefined, undefined],
        ['connect', 'ann', 'pass', undefined, undefined],
        ['open', 'ann', 'pass', undefined, undefined],
        ['data', undefined, 'pass', chunk, chunk],
        ['disconnect', 'ann', 'pass', undefined, undefined],
        ['consumer', undefined, 'rewrite', 'in', 'out'],
        ['request', undefined, 'pass', undefined, undefined],
        ['publish', 'ann', 'rewrite', 'in', 'out'],
        ['publish', undefined, 'rewrite', 'in', 'out'],
      ],
    )
  })

  it('may be several; each ends alone, and a handler that runs then is not measured', async () => {
    const { message, observers } = compile([{ message: () => {} }])
    const calls: string[] = []
    const observe = (name: string) => observers.add(() => calls.push(name))
    const [endA, endB] = [observe('a'), observe('b')]
    message.run('in', someone())
    endA()
    endA()
    message.run('in', someone())
    endB()
    message.run('in', someone())
    assert.deepEqual([calls, observers.isOn], [['a', 'b', 'b'], false])
  })

  it('change neither outcomes nor counts, reports or holds of any chain', async () => {
    const verdicts = VERDICTS.map(([, handler]) => handler)
    const isAsync = (run: () => unknown) => async () => run()
    const handler = fc
      .tuple(fc.constantFrom(...verdicts), fc.boolean())
      .map(([run, late]) => (late ? isAsync(run) : run))
    const chainName = fc.constantFrom('connect', 'open', 'message', 'disconnect', 'consumer', 'publish')
    await fc.assert(
      fc.asyncProperty(
        chainName,
        fc.array(handler, { maxLength: 6 }),
        fc.integer({ min: -1, max: 6 }),
        async (name, handlers, reach) => {
          const outcomes = []
          let calls = 0
          for (const isObserved of [false, true]) {
            const { observers, reported, held, ...chains } = compile(handlers.map(run => ({ [name]: run }) as Handlers))
            if (isObserved) observers.add(() => calls++)
            const client = { ...someone(), reach }
            const value = {
              message: 'in',
              consumer: { channel: 'c', payload: 'in' },
              publish: { topic: 't', payload: 'in' },
            }[name as 'message']
            const chain = chains[name as 'message']
            const outcome = await chain.run(value ?? (client as never), client)
            const { position, waiting } = client
            outcomes.push([
              value === undefined && typeof outcome === 'object' ? 'the client' : outcome,
              reported.map(([, where]) => where),
              held,
              position,
              waiting,
              chain.steps.map(({ run, ...counts }) => counts),
            ])
          }
          assert.deepEqual(outcomes[1], outcomes[0])
          assert.equal(
            calls,
            (outcomes[1]![5] as { calls: number }[]).reduce((sum, step) => sum + step.calls, 0),
          )
        },
      ),
      { numRuns: 500 },
    )
  })

  it('do not see a handler that began before them', async () => {
    const { message, observers } = compile([{ message: () => wait(1) }, { message: () => {} }])
    const outcome = message.run('in', someone())
    const calls: HandlerCall[] = []
    observers.add(call => calls.push(call))
    await outcome
    assert.deepEqual(
      calls.map(({ filter }) => filter),
      ['f1'],
    )
  })

  it('that throw are reported, and neither the chain nor other observers end', () => {
    const thrown = new Error('no')
    const { message, observers, reported } = compile([{ message: () => 'out' }])
    let others = 0
    observers.add(() => {
      throw thrown
    })
    observers.add(() => others++)
    assert.equal(message.run('in', someone()), 'out')
    assert.deepEqual(reported, [[thrown, { chain: 'message', filter: 'observer', id: 'ann' }]])
    assert.equal(others, 1)
  })

  it('see the chains of a server and of claimed paths', async () => {
    const shout: FilterModule = { message: payload => String(payload).toUpperCase() }
    const claiming: FilterModule = { paths: ['/sse'], message: () => DROP }
    const server = await testServer([shout, claiming])
    try {
      const calls: HandlerCall[] = []
      const end = server.server.observe(call => calls.push(call))
      const [plain, claimed] = [await server.connect(), await server.connect({ url: '/sse' })]
      await plain.say('hello')
      await claimed.say('bye')
      end()
      await plain.say('unseen')
      assert.deepEqual(
        calls.map(({ client, order, verdict, after }) => [client, order, verdict, after]),
        [
          [plain.client.id, 0, 'rewrite', 'HELLO'],
          [claimed.client.id, 1, 'drop', undefined],
        ],
      )
    } finally {
      await server.stop()
    }
  })
})
