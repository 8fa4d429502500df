import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { type Chain, type ChainName, FAILED, type Step, type SyncHandler } from '../../src/chain/chain.ts'
import { type Chains, compileChains } from '../../src/chain/chains.ts'
import { Deadlines } from '../../src/contract/deadline.ts'
import { DROP } from '../../src/contract/drop.ts'
import type { FwsError } from '../../src/contract/errors.ts'
import type { Handlers } from '../../src/contract/filter.ts'

const EVERY_FILTER = 1000

/** A client for a chain. */
const someone = () => ({ id: 'client-1', position: -1, reach: EVERY_FILTER, notifyForbidden: () => {} })

interface Reported {
  readonly error: FwsError
  readonly chain: ChainName | SyncHandler
  readonly filter: string
  readonly id: string | undefined
}

interface Compiled extends Chains {
  readonly reported: Reported[]
  readonly held: string[]
}

/** Chains of filters named `f0`, `f1` and so on. */
function compile(filters: readonly Handlers[], deadline = 0): Compiled {
  const reported: Reported[] = []
  const held: string[] = []
  const chains = compileChains(
    filters.map((handlers, i) => ({ name: `f${i}`, handlers })),
    {
      deadline,
      deadlines: new Deadlines(),
      held: ({ id }) => held.push(id),
      report: (error, where) => reported.push({ error: error as FwsError, ...where }),
    },
  )
  return { ...chains, reported, held }
}

/** A chain of untyped handlers, which return wrong values. */
function chainOf(name: ChainName, handlers: readonly ((...args: never[]) => unknown)[], deadline = 0) {
  const compiled = compile(
    handlers.map(handler => ({ [name]: handler }) as Handlers),
    deadline,
  )
  return { ...compiled, chain: compiled[name] as unknown as Chain<unknown> }
}

/** Chains that ignore DROP. */
function ignoresDrop(name: ChainName): boolean {
  return name === 'open' || name === 'disconnect'
}

/** Test events of one chain. */
interface Kind {
  readonly name: ChainName
  /** Arguments of one run; the first is the value. */
  readonly event: () => [unknown, unknown?, unknown?]
  /** The id in error reports. */
  readonly id: string
  readonly takes: string
  readonly goesOn?: true
  /** A verdict that replaces the payload, and the value that the next handler gets. */
  readonly rewrite?: readonly [verdict: unknown, value: unknown]
  /** Verdicts that other chains may take and this one does not. */
  readonly wrong: readonly unknown[]
}

const peer = { id: 'peer-1', remote: '127.0.0.1', close: () => {} }
const KINDS: readonly Kind[] = [
  {
    name: 'connect',
    event: () => [someone()],
    id: 'client-1',
    takes: 'nothing, or what client.refuse() returns',
    wrong: ['text', Buffer.from('b')],
  },
  { name: 'open', event: () => [someone()], id: 'client-1', takes: 'nothing', wrong: ['text', Buffer.from('b')] },
  {
    name: 'data',
    event: () => [Buffer.from('in'), peer],
    id: 'peer-1',
    takes: 'nothing, a Buffer, or DROP',
    rewrite: [Buffer.from('out'), Buffer.from('out')],
    wrong: ['text'],
  },
  {
    name: 'message',
    event: () => ['in', someone(), { payload: 'in', at: 0 }],
    id: 'client-1',
    takes: 'nothing, a string, a Buffer, or DROP',
    rewrite: ['out', 'out'],
    wrong: [],
  },
  {
    name: 'disconnect',
    event: () => [someone(), { code: 1000, reason: '', clean: true }],
    id: 'client-1',
    takes: 'nothing',
    goesOn: true,
    wrong: ['text', Buffer.from('b')],
  },
  {
    name: 'consumer',
    event: () => [{ channel: 'global', payload: 'in' }, {}],
    id: 'channel global',
    takes: 'nothing, a string, a Buffer, or DROP',
    goesOn: true,
    rewrite: ['out', { channel: 'global', payload: 'out' }],
    wrong: [],
  },
  {
    name: 'request',
    event: () => [{ socket: { remoteAddress: '10.0.0.7' } }, { headersSent: false }, {}],
    id: '10.0.0.7',
    takes: 'nothing, or DROP when it has answered',
    wrong: ['text', Buffer.from('b')],
  },
]

/** Wrong verdicts, and their names in errors. */
const WRONG: readonly (readonly [value: unknown, name: string])[] = [
  [0, 'number 0'],
  [1, 'number 1'],
  [Number.NaN, 'number NaN'],
  [true, 'boolean true'],
  [false, 'boolean false'],
  [null, 'null'],
  [10n, 'bigint 10'],
  [Symbol('drop'), 'symbol Symbol(drop)'],
  [{ a: 1 }, 'an object (Object)'],
  [[], 'an object (Array)'],
  [new Uint8Array(2), 'an object (Uint8Array)'],
  [Object.create(null), 'an object (no prototype)'],
  [() => 'x', 'a function'],
]

/** A promise as other libraries make them. */
function thenable(then: (settle: (value: string) => void) => void): object {
  return Object.defineProperty({}, 'then', { value: then })
}

const nameOf = (value: unknown) => (typeof value === 'string' ? `string ${value}` : 'an object (Buffer)')

for (const kind of KINDS) {
  const { name, id } = kind

  describe(`${name} chain`, () => {
    it('passes: undefined keeps the value for the next handler', () => {
      const seen: unknown[] = []
      const { chain } = chainOf(name, [value => void seen.push(value), value => void seen.push(value)])
      const event = kind.event()
      assert.equal(chain.run(...event), event[0])
      assert.deepEqual(seen, [event[0], event[0]])
    })

    it('passes the other arguments to all handlers', () => {
      const seen: unknown[][] = []
      const { chain } = chainOf(name, [
        (...args) => void seen.push(args.slice(1)),
        (...args) => void seen.push(args.slice(1)),
      ])
      const [value, a, b] = kind.event()
      chain.run(value, a, b)
      assert.deepEqual(seen, [
        [a, b],
        [a, b],
      ])
    })

    it('passes what an async handler passes', async () => {
      const seen: unknown[] = []
      const { chain } = chainOf(name, [async () => {}, value => void seen.push(value)])
      const event = kind.event()
      assert.equal(await chain.run(...event), event[0])
      assert.deepEqual(seen, [event[0]])
    })

    if (kind.rewrite !== undefined) {
      const [verdict, value] = kind.rewrite
      it('rewrites: the returned value goes to the next handler and is the outcome', () => {
        const seen: unknown[] = []
        const { chain, reported } = chainOf(name, [() => verdict, next => void seen.push(next)])
        assert.deepEqual(chain.run(...kind.event()), value)
        assert.deepEqual([seen, reported], [[value], []])
        assert.deepEqual(
          chain.steps.map(step => step.rewritten),
          [1, 0],
        )
      })

      it('rewrites with the value of a promise', async () => {
        const seen: unknown[] = []
        const { chain } = chainOf(name, [async () => verdict, next => void seen.push(next)])
        assert.deepEqual(await chain.run(...kind.event()), value)
        assert.deepEqual(seen, [value])
        assert.equal(chain.steps[0]!.rewritten, 1)
      })
    }

    if (ignoresDrop(name)) {
      it('ignores DROP: the next handlers run', async () => {
        const ran: number[] = []
        const { chain, reported } = chainOf(name, [() => DROP, async () => DROP, () => void ran.push(2)])
        const [value, ...rest] = kind.event()
        assert.equal(await chain.run(value, ...rest), value)
        assert.deepEqual([ran, reported], [[2], []])
      })
    } else {
      it('drops: DROP ends the chain', () => {
        const { chain, reported } = chainOf(name, [() => DROP, () => assert.fail('reached')])
        assert.equal(chain.run(...kind.event()), DROP)
        assert.deepEqual([chain.steps.map(step => step.dropped), reported], [[1, 0], []])
      })

      it('drops when a promise settles to DROP', async () => {
        const { chain } = chainOf(name, [async () => DROP, () => assert.fail('reached')])
        assert.equal(await chain.run(...kind.event()), DROP)
        assert.equal(chain.steps[0]!.dropped, 1)
      })

      it('accepts the DROP of another copy of the package', () => {
        const { chain } = chainOf(name, [() => Symbol.for('filtered-websocket.drop')])
        assert.equal(chain.run(...kind.event()), DROP)
      })
    }

    /** Runs a failing handler and a second one; returns the reports. */
    async function fails(failing: () => unknown, deadline = 0): Promise<Reported> {
      let reached = 0
      const { chain, reported } = chainOf(
        name,
        [
          () => {},
          failing,
          () => {
            reached++
          },
        ],
        deadline,
      )
      const event = kind.event()
      const outcome = await chain.run(...event)
      if (kind.goesOn) {
        assert.equal(outcome, event[0], 'the value is as it was')
        assert.equal(reached, 1, 'the next handler runs')
      } else {
        assert.equal(outcome, FAILED)
        assert.equal(reached, 0, 'the next handler does not run')
      }
      assert.deepEqual(
        chain.steps.map(({ failed, dropped, rewritten }) => [failed, dropped, rewritten]),
        [
          [0, 0, 0],
          [1, 0, 0],
          [0, 0, 0],
        ],
      )
      assert.equal(reported.length, 1)
      const { error: _, ...where } = reported[0]!
      assert.deepEqual(where, { chain: name, filter: 'f1', id })
      return reported[0]!
    }
    const whatThen = kind.goesOn ? 'and the next handler runs' : 'and the chain ends'

    it(`a throw is reported with chain, filter and id, ${whatThen}`, async () => {
      const thrown = new Error('no')
      const { error } = await fails(() => {
        throw thrown
      })
      assert.equal(error, thrown)
    })

    it(`a rejection is reported in the same way, ${whatThen}`, async () => {
      const thrown = new Error('no')
      const { error } = await fails(() => Promise.reject(thrown))
      assert.equal(error, thrown)
    })

    for (const [value, called] of [...WRONG, ...kind.wrong.map(value => [value, nameOf(value)] as const)]) {
      it(`${called} is refused, ${whatThen}`, async () => {
        const article = name === 'open' ? 'an' : 'a'
        const message = `returned ${called}; ${article} ${name} handler returns ${kind.takes}`
        for (const failing of [() => value, async () => value]) {
          const { error } = await fails(failing)
          assert.deepEqual([error.code, error.message], ['ERR_VERDICT', message])
        }
      })
    }

    it(`a promise that does not settle in time is an error, ${whatThen}`, async () => {
      const { error } = await fails(() => new Promise(() => {}), 20)
      assert.deepEqual([error.code, error.message], ['ERR_TIMEOUT', 'its promise did not settle within 0.02 s'])
    })

    it(`a thenable whose then throws on access is an error, ${whatThen}`, async () => {
      const thrown = new Error('no then')
      const trap = Object.defineProperty({}, 'then', {
        get() {
          throw thrown
        },
      })
      const { error } = await fails(() => trap)
      assert.equal(error, thrown)
    })

    it(`a value that throws when it is inspected is an error, ${whatThen}`, async () => {
      const nameless = Object.create({
        get constructor() {
          throw new Error('no constructor')
        },
      })
      const { error } = await fails(() => nameless)
      assert.ok(error instanceof Error)
    })

    it('resets the position of the client after its last handler', async () => {
      const { chain } = chainOf(name, [() => {}, async () => {}])
      const [value, a, b] = kind.event()
      await chain.run(value, a, b)
      const subject = [value, a].find(part => (part as { position?: number })?.position !== undefined)
      assert.ok(subject === undefined || (subject as { position: number }).position === -1)
    })

    it('a synchronous chain does not create a promise', () => {
      const answers = [() => {}, () => kind.rewrite?.[0], () => {}]
      const passing = chainOf(name, answers).chain.run(...kind.event())
      assert.ok(!(passing instanceof Promise))
      const failing = chainOf(name, [
        () => {
          throw new Error('no')
        },
        () => 7,
      ]).chain.run(...kind.event())
      assert.ok(!(failing instanceof Promise))
    })

    it('a synchronous handler runs on the stack of run', () => {
      const order: string[] = []
      const { chain } = chainOf(name, [() => void order.push('one'), () => void order.push('two')])
      chain.run(...kind.event())
      order.push('after run')
      assert.deepEqual(order, ['one', 'two', 'after run'])
    })

    it('an empty chain returns its value', () => {
      const { chain } = chainOf(name, [])
      const event = kind.event()
      assert.equal(chain.empty, true)
      assert.equal(chain.run(...event), event[0])
    })
  })
}

describe('verdicts', () => {
  it('p => seen.push(p) is caught', () => {
    const seen: string[] = []
    const { message, reported } = chainOf('message', [(p: string) => seen.push(p)])
    assert.equal(message.run('hello', someone(), {}), FAILED)
    assert.equal(
      reported[0]!.error.message,
      'returned number 1; a message handler returns nothing, a string, a Buffer, or DROP',
    )
    assert.equal(reported[0]!.filter, 'f0')
  })

  it('an empty string and an empty Buffer replace a message', () => {
    assert.equal(chainOf('message', [() => '']).chain.run('in', someone()), '')
    assert.deepEqual(chainOf('message', [() => Buffer.alloc(0)]).chain.run('in', someone()), Buffer.alloc(0))
    assert.deepEqual(chainOf('data', [() => Buffer.alloc(0)]).chain.run(Buffer.from('in'), peer), Buffer.alloc(0))
  })

  it('a string may become a Buffer, and the reverse', () => {
    const seen: unknown[] = []
    const { chain } = chainOf('message', [
      (p: string) => Buffer.from(p),
      (p: Buffer) => {
        seen.push(p)
        return p.toString('hex')
      },
    ])
    assert.equal(chain.run('ab', someone()), '6162')
    assert.deepEqual(seen, [Buffer.from('ab')])
  })

  it('promises of another realm and of another library are awaited', async () => {
    const theirs = thenable(settle => settle('theirs'))
    const elsewhere = runInNewContext('Promise.resolve("elsewhere")')
    assert.ok(!(elsewhere instanceof Promise))
    for (const [answer, value] of [
      [theirs, 'theirs'],
      [elsewhere, 'elsewhere'],
    ] as const) {
      const seen: unknown[] = []
      const { chain, reported } = chainOf('message', [() => answer, p => void seen.push(p)])
      assert.equal(await chain.run('in', someone()), value)
      assert.deepEqual([seen, reported], [[value], []])
    }
  })

  it('a rejection of another realm is contained', async () => {
    const { chain, reported } = chainOf('message', [() => runInNewContext('Promise.reject(new Error("far"))')])
    assert.equal(await chain.run('in', someone()), FAILED)
    assert.equal(reported[0]!.error.message, 'far')
  })

  it('a thenable that settles twice counts once', async () => {
    let reached = 0
    const twice = thenable(settle => {
      settle('first')
      settle('second')
    })
    const { chain } = chainOf('message', [() => twice, () => void reached++])
    assert.equal(await chain.run('in', someone()), 'first')
    assert.equal(reached, 1)
  })

  it('a run never throws, whatever is thrown', async () => {
    for (const thrown of [undefined, null, 'text', 7, Object.create(null)]) {
      const { chain, reported } = chainOf('message', [
        () => {
          throw thrown
        },
      ])
      assert.equal(chain.run('in', someone()), FAILED)
      assert.equal(reported[0]!.error, thrown)
      const late = chainOf('message', [() => Promise.reject(thrown)])
      assert.equal(await late.chain.run('in', someone()), FAILED)
      assert.equal(late.reported[0]!.error, thrown)
    }
  })
})

describe('request verdicts', () => {
  const request = () => ({ socket: { remoteAddress: '10.0.0.7' } })

  it('a handler that has sent headers has answered', async () => {
    for (const answer of [
      (_: unknown, res: { headersSent: boolean }) => {
        res.headersSent = true
      },
      async (_: unknown, res: { headersSent: boolean }) => {
        res.headersSent = true
      },
    ]) {
      const { chain } = chainOf('request', [answer, () => assert.fail('reached')])
      assert.equal(await chain.run(request(), { headersSent: false }), DROP)
    }
  })

  it('a handler that returns the response has answered: (req, res) => res.end()', async () => {
    for (const answer of [(_: unknown, res: unknown) => res, async (_: unknown, res: unknown) => res]) {
      const { chain, reported } = chainOf('request', [answer, () => assert.fail('reached')])
      assert.equal(await chain.run(request(), { headersSent: false }), DROP)
      assert.deepEqual(reported, [])
    }
  })
})

describe('deadline', () => {
  it('a result that comes too late is ignored', async () => {
    let settle = (_: string) => {}
    const late = new Promise<string>(resolve => {
      settle = resolve
    })
    const { chain, reported } = chainOf('message', [() => late, () => assert.fail('reached')], 10)
    assert.equal(await chain.run('in', someone()), FAILED)
    settle('late')
    await turn()
    assert.deepEqual(
      chain.steps.map(({ failed, rewritten }) => [failed, rewritten]),
      [
        [1, 0],
        [0, 0],
      ],
    )
    assert.equal(reported.length, 1)
  })

  it('a rejection that comes too late is neither reported again nor left unhandled', async t => {
    const unhandled: unknown[] = []
    const listener = (reason: unknown) => unhandled.push(reason)
    process.on('unhandledRejection', listener)
    t.after(() => process.off('unhandledRejection', listener))
    let fail = (_: Error) => {}
    const late = new Promise((_, reject) => {
      fail = reject
    })
    const { chain, reported } = chainOf('message', [() => late], 10)
    assert.equal(await chain.run('in', someone()), FAILED)
    fail(new Error('late'))
    await turn()
    await turn()
    assert.deepEqual([reported.length, unhandled], [1, []])
  })

  it('starts again for each handler', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const settle: (() => void)[] = []
    const slow = () => new Promise<void>(resolve => void settle.push(resolve))
    const { chain } = chainOf('message', [slow, slow], 1000)
    const outcome = chain.run('in', someone())
    for (let i = 0; i < 2; i++) {
      t.mock.timers.tick(900)
      settle[i]!()
      await turn()
    }
    assert.equal(await outcome, 'in')
  })

  it('0 disables it', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    let settle = () => {}
    const slow = new Promise<void>(resolve => {
      settle = resolve
    })
    const { chain } = chainOf('message', [() => slow], 0)
    const outcome = chain.run('in', someone())
    t.mock.timers.tick(2 ** 31 - 1)
    await turn()
    settle()
    assert.equal(await outcome, 'in')
  })

  it('clears the timer when a handler settles in time', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { chain, reported } = chainOf('message', [async () => {}], 1000)
    await chain.run('in', someone())
    t.mock.timers.tick(5000)
    await turn()
    assert.deepEqual([chain.steps[0]!.failed, reported], [0, []])
  })
})

describe('steps', () => {
  it('each handler of an array is a step of its filter, in order', () => {
    const order: string[] = []
    const say = (text: string) => () => void order.push(text)
    const { message } = compile([{ message: [say('a1'), say('a2')] }, { message: say('b1') }, { message: [] }])
    message.run('in', someone())
    assert.deepEqual(order, ['a1', 'a2', 'b1'])
    assert.deepEqual(
      message.steps.map(step => [step.filter, step.order]),
      [
        ['f0', 0],
        ['f0', 0],
        ['f1', 1],
      ],
    )
  })

  it('a filter keeps its order where others have no handler', () => {
    const { message, open } = compile([
      { open: () => {} },
      { message: () => {} },
      { open: () => {}, message: () => {} },
    ])
    assert.deepEqual(
      [open.steps.map(step => step.order), message.steps.map(step => step.order)],
      [
        [0, 2],
        [1, 2],
      ],
    )
  })

  it('the client has the position of the handler that runs, afterwards -1', async () => {
    const client = someone()
    const at: number[] = []
    const where = () => void at.push(client.position)
    const { message } = compile([
      { message: where },
      { message: [where, async () => where()] },
      {
        message: async () => {
          await turn()
          where()
        },
      },
    ])
    await message.run('in', client)
    assert.deepEqual([at, client.position], [[0, 1, 1, 2], -1])
  })

  it('the position is -1 after a drop and after an error', async () => {
    for (const answer of [() => DROP, async () => DROP, () => 7, async () => 7]) {
      const client = someone()
      const { chain } = chainOf('message', [answer])
      await chain.run('in', client)
      assert.equal(client.position, -1)
    }
  })

  it('a client on hold stops at the filter that holds it', async () => {
    for (const holder of [
      (client: { reach: number }) => {
        client.reach = 1
      },
      async (client: { reach: number }) => {
        await turn()
        client.reach = 1
      },
    ]) {
      const client = someone()
      const reached: number[] = []
      const { chain, held } = chainOf('message', [
        () => void reached.push(0),
        (_: unknown, holding: { reach: number }) => {
          reached.push(1)
          return holder(holding)
        },
        () => void reached.push(2),
      ])
      assert.equal(await chain.run('in', client), DROP)
      assert.deepEqual([reached, held, client.position], [[0, 1], ['client-1'], -1])
    }
  })

  it('only messages stop there', () => {
    for (const name of ['connect', 'open', 'disconnect'] as const) {
      let reached = 0
      const { chain, held } = chainOf(name, [() => {}, () => void reached++])
      chain.run({ ...someone(), reach: 0 })
      assert.deepEqual([reached, held], [1, []], name)
    }
  })
})

/** The action of a handler in the property. */
interface Act {
  readonly does: 'pass' | 'rewrite' | 'drop' | 'fail' | 'wrong' | 'never'
  /** Turns of the event loop before it does so; `undefined`: at once, without a promise. */
  readonly after: number | undefined
}

const acts = fc.array(
  fc.record({
    does: fc.oneof(
      { weight: 6, arbitrary: fc.constant('pass' as const) },
      { weight: 4, arbitrary: fc.constant('rewrite' as const) },
      {
        weight: 4,
        arbitrary: fc.constantFrom('drop' as const, 'fail' as const, 'wrong' as const, 'never' as const),
      },
    ),
    after: fc.option(fc.nat(3), { nil: undefined, freq: 2 }),
  }),
  { maxLength: 8 },
)

const REWRITES: Partial<Record<ChainName, { of(i: number): unknown; value(i: number): unknown }>> = {
  data: { of: i => Buffer.from(`by ${i}`), value: i => Buffer.from(`by ${i}`) },
  message: { of: i => `by ${i}`, value: i => `by ${i}` },
  consumer: { of: i => `by ${i}`, value: i => ({ channel: 'global', payload: `by ${i}` }) },
}

type Totals = Pick<Step, 'rewritten' | 'dropped' | 'failed'>

interface Trace {
  readonly outcome: unknown
  /** The handlers that ran, with their values. */
  readonly ran: readonly (readonly [number, unknown])[]
  readonly totals: readonly Totals[]
  readonly reported: readonly string[]
  readonly held: number
}

/** A model of the chain. */
function expected(kind: Kind, list: readonly Act[], start: unknown, reach: number): Trace {
  const ran: [number, unknown][] = []
  const totals = list.map(() => ({ rewritten: 0, dropped: 0, failed: 0 }))
  const reported: string[] = []
  const done = (outcome: unknown, held = 0): Trace => ({ outcome, ran, totals, reported, held })
  let value = start
  for (const [i, { does }] of list.entries()) {
    if (kind.name === 'message' && i > reach) return done(DROP, 1)
    ran.push([i, value])
    const rewrite = REWRITES[kind.name]
    if (does === 'pass') continue
    if (does === 'drop' && ignoresDrop(kind.name)) continue
    if (does === 'drop') {
      totals[i]!.dropped++
      return done(DROP)
    }
    if (does === 'rewrite' && rewrite !== undefined) {
      totals[i]!.rewritten++
      value = rewrite.value(i)
      continue
    }
    totals[i]!.failed++
    reported.push(`${kind.name} f${i} ${kind.id}`)
    if (!kind.goesOn) return done(FAILED)
  }
  return done(value)
}

describe('any chain', () => {
  const DEADLINE = 1000

  it('matches a model: outcomes, values, errors, counters', async t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const anyKind = fc.constantFrom(...KINDS)
    const anyReach = fc.oneof({ weight: 3, arbitrary: fc.constant(EVERY_FILTER) }, { weight: 1, arbitrary: fc.nat(4) })
    await fc.assert(
      fc.asyncProperty(anyKind, acts, anyReach, async (kind, list, reach) => {
        const ran: [number, unknown][] = []
        let stuck = 0
        const act = ({ does }: Act, i: number): unknown => {
          if (does === 'drop') return DROP
          if (does === 'fail') throw new Error(`f${i} fails`)
          if (does === 'wrong') return i
          // A chain that does not rewrite refuses strings.
          return does === 'rewrite' ? (REWRITES[kind.name]?.of(i) ?? 'text') : undefined
        }
        const handlers = list.map((one, i) => (value: unknown) => {
          ran.push([i, value])
          if (one.does === 'never') {
            stuck++
            return new Promise(() => {})
          }
          const { after } = one
          if (after === undefined) return act(one, i)
          return (async () => {
            for (let n = 0; n < after; n++) await turn()
            return act(one, i)
          })()
        })
        const { chain, reported, held } = chainOf(kind.name, handlers, DEADLINE)
        const event = kind.event()
        for (const part of event) if (part instanceof Object && 'reach' in part) part.reach = reach

        const running = chain.run(...event)
        let settled = false
        const outcome = Promise.resolve(running).finally(() => {
          settled = true
        })
        const willWait = ran.some(([i]) => list[i]!.does === 'never' || list[i]!.after !== undefined)
        assert.equal(running instanceof Promise, willWait, 'a promise only where a handler answered one')
        for (let turns = 0; !settled; turns++) {
          assert.ok(turns < 1000, 'the chain settles')
          await turn()
          // Only a handler that never settles is worth a deadline.
          if (stuck > 0) {
            stuck = 0
            t.mock.timers.tick(DEADLINE)
          }
        }
        const trace: Trace = {
          outcome: await outcome,
          ran,
          totals: chain.steps.map(({ rewritten, dropped, failed }) => ({ rewritten, dropped, failed })),
          reported: reported.map(({ chain: name, filter, id }) => `${name} ${filter} ${id}`),
          held: held.length,
        }
        assert.deepEqual(trace, expected(kind, list, event[0], reach))
      }),
      { numRuns: 600 },
    )
  })
})
