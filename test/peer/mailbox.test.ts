import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import { setFlagsFromString } from 'node:v8'
import { runInNewContext } from 'node:vm'
import fc from 'fast-check'
import { type InboundLimits, Mailbox, type MailboxOwner } from '../../src/peer/mailbox.ts'

/** An owner whose tasks end when the test calls `finish`. */
class Desk<T extends string> implements MailboxOwner<T> {
  readonly mailbox: Mailbox<T>
  /** Started items, in order. */
  readonly begun: T[] = []
  /** Pauses and resumes, in order. */
  readonly calls: string[] = []
  /** Whether a task lasts until `finish`. */
  isSlow = true
  #finish: (() => void)[] = []

  constructor(limits: Partial<InboundLimits> = {}) {
    this.mailbox = new Mailbox(this, { maxQueued: 1000, maxBytes: 1_000_000, ...limits })
  }

  get underWay(): number {
    return this.#finish.length
  }

  handle(item: T): Promise<unknown> | undefined {
    this.begun.push(item)
    return this.isSlow ? new Promise<void>(resolve => void this.#finish.push(resolve)) : undefined
  }

  sizeOf(item: T): number {
    return item.length
  }

  pause(): void {
    this.calls.push(`pause at ${this.mailbox.waiting}`)
  }

  resume(): void {
    this.calls.push(`resume at ${this.mailbox.waiting}`)
  }

  /** Ends the last started task. */
  async finish(): Promise<void> {
    this.#finish.shift()!()
    await turn()
  }
}

describe('mailbox', () => {
  it('when idle, handles an item on the stack of receive', () => {
    const desk = new Desk()
    desk.mailbox.receive('a')
    assert.deepEqual(desk.begun, ['a'])
  })

  it('handles items that finish synchronously without a pause', () => {
    const desk = new Desk()
    desk.isSlow = false
    for (const item of ['a', 'b', 'c']) desk.mailbox.receive(item)
    assert.deepEqual([desk.begun, desk.mailbox.waiting], [['a', 'b', 'c'], 0])
  })

  it('handles one item at a time, in the order received', async () => {
    const desk = new Desk()
    for (const item of ['a', 'b', 'c']) desk.mailbox.receive(item)
    for (const so of [['a'], ['a', 'b'], ['a', 'b', 'c']]) {
      assert.deepEqual([desk.begun, desk.underWay], [so, 1])
      await desk.finish()
    }
    assert.deepEqual([desk.begun.length, desk.underWay, desk.mailbox.waiting], [3, 0, 0])
  })

  it('keeps the order when fast items follow a slow one', async () => {
    const desk = new Desk()
    desk.mailbox.receive('slow')
    desk.isSlow = false
    desk.mailbox.receive('quick 1')
    desk.mailbox.receive('quick 2')
    assert.deepEqual(desk.begun, ['slow'])
    await desk.finish()
    assert.deepEqual(desk.begun, ['slow', 'quick 1', 'quick 2'])
  })

  it('queues items that arrive during a task after those that wait', () => {
    const desk = new Desk()
    const { mailbox } = desk
    desk.handle = item => {
      desk.begun.push(item)
      if (item === 'a') {
        mailbox.receive('from a')
        assert.deepEqual(desk.begun, ['a'])
      }
      return undefined
    }
    mailbox.receive('a')
    mailbox.receive('b')
    assert.deepEqual(desk.begun, ['a', 'from a', 'b'])
  })

  it('handles any mix of fast and slow items in order, each once', async () => {
    await fc.assert(
      fc.asyncProperty(
        fc.array(fc.record({ turns: fc.nat(2), arrivesAfter: fc.nat(2) }), { maxLength: 40 }),
        async items => {
          const begun: number[] = []
          let underWay = 0
          const mailbox: Mailbox<number> = new Mailbox(
            {
              handle(i: number) {
                assert.equal(underWay, 0, 'one at a time')
                begun.push(i)
                const { turns } = items[i]!
                if (turns === 0) return undefined
                underWay++
                return (async () => {
                  for (let n = 0; n < turns; n++) await turn()
                  underWay--
                })()
              },
              sizeOf: () => 1,
              pause() {},
              resume() {},
            },
            { maxQueued: 5, maxBytes: 5 },
          )
          for (const [i, { arrivesAfter }] of items.entries()) {
            for (let n = 0; n < arrivesAfter; n++) await turn()
            mailbox.receive(i)
          }
          await new Promise<void>(resolve => mailbox.whenIdle(resolve))
          assert.deepEqual(begun, [...items.keys()])
        },
      ),
      { numRuns: 100 },
    )
  })
})

describe('mailbox whose tasks add items', () => {
  const LAST = 5000

  for (const [how, done] of [
    ['at once', undefined],
    ['within the same turn', Promise.resolve()],
  ] as const) {
    it(`with items that finish ${how} lets the event loop run, and keeps the order`, async () => {
      const begun: number[] = []
      const mailbox: Mailbox<number> = new Mailbox<number>(
        {
          handle: item => {
            begun.push(item)
            if (item < LAST) mailbox.receive(item + 1)
            return done
          },
          sizeOf: () => 1,
          pause: () => {},
          resume: () => {},
        },
        { maxQueued: 1000, maxBytes: 1_000_000 },
      )
      mailbox.receive(1)
      await turn()
      const { length } = begun
      assert.ok(length >= 1000 && length < LAST / 2, `${length} before the first turn`)
      mailbox.receive(LAST + 1)
      await new Promise<void>(resolve => mailbox.whenIdle(resolve))
      assert.equal(begun.length, LAST + 1)
      assert.deepEqual(
        begun.filter(item => item <= LAST),
        Array.from({ length: LAST }, (_, i) => i + 1),
      )
      assert.ok(begun.indexOf(LAST + 1) <= length + 1)
    })
  }

  it('may be discarded in such a pause', async () => {
    let begun = 0
    const mailbox: Mailbox<number> = new Mailbox<number>(
      {
        handle: () => {
          if (++begun < LAST) mailbox.receive(0)
          return undefined
        },
        sizeOf: () => 1,
        pause: () => {},
        resume: () => {},
      },
      { maxQueued: 1000, maxBytes: 1_000_000 },
    )
    mailbox.receive(0)
    assert.equal(mailbox.discard(), 1)
    await new Promise<void>(resolve => mailbox.whenIdle(resolve))
    assert.ok(begun < LAST)
  })
})

describe('mailbox with tasks that fail', () => {
  it('continues', async () => {
    const begun: string[] = []
    const mailbox = new Mailbox<string>(
      {
        handle: item => {
          begun.push(item)
          return Promise.reject(new Error('no'))
        },
        sizeOf: () => 1,
        pause: () => {},
        resume: () => {},
      },
      { maxQueued: 10, maxBytes: 10 },
    )
    mailbox.begin(Promise.reject(new Error('no')))
    for (const item of ['a', 'b']) mailbox.receive(item)
    await turn()
    assert.deepEqual(begun, ['a', 'b'])
    mailbox.receive('c')
    assert.deepEqual(begun, ['a', 'b', 'c'])
  })
})

describe('mailbox at its limit', () => {
  it('pauses once when the maximum number of items waits, and resumes at half', async () => {
    const desk = new Desk({ maxQueued: 4 })
    for (const item of ['work', '1', '2', '3']) desk.mailbox.receive(item)
    assert.deepEqual([desk.calls, desk.mailbox.paused], [[], false])
    for (const item of ['4', '5', '6']) desk.mailbox.receive(item)
    assert.deepEqual([desk.calls, desk.mailbox.paused], [['pause at 4'], true])
    for (const waiting of [5, 4, 3]) {
      await desk.finish()
      assert.deepEqual([desk.mailbox.waiting, desk.mailbox.paused], [waiting, true])
    }
    await desk.finish()
    assert.deepEqual([desk.calls, desk.mailbox.paused], [['pause at 4', 'resume at 2'], false])
  })

  it('accepts all items that arrive while it is paused, since they have been read', async () => {
    const desk = new Desk({ maxQueued: 2 })
    const items = Array.from({ length: 50 }, (_, i) => `${i}`)
    for (const item of items) desk.mailbox.receive(item)
    desk.isSlow = false
    await desk.finish()
    assert.deepEqual(desk.begun, items)
  })

  it('pauses when the maximum of bytes waits, and resumes at half', async () => {
    const desk = new Desk({ maxBytes: 100 })
    desk.mailbox.receive('work that is begun does not wait')
    desk.mailbox.receive('x'.repeat(40))
    desk.mailbox.receive('x'.repeat(59))
    assert.deepEqual(desk.calls, [])
    desk.mailbox.receive('x')
    assert.deepEqual(desk.calls, ['pause at 3'])
    await desk.finish()
    assert.deepEqual(desk.calls, ['pause at 3'], '60 bytes wait')
    await desk.finish()
    assert.deepEqual(desk.calls, ['pause at 3', 'resume at 1'])
  })

  it('pauses for one item larger than the limit, and resumes when it is handled', async () => {
    const desk = new Desk({ maxBytes: 100 })
    desk.mailbox.receive('a')
    desk.mailbox.receive('x'.repeat(500))
    assert.deepEqual(desk.calls, ['pause at 1'])
    await desk.finish()
    assert.deepEqual(desk.calls, ['pause at 1', 'resume at 0'])
  })

  it('pauses again when it fills up again', async () => {
    const desk = new Desk({ maxQueued: 2 })
    for (const item of ['a', 'b', 'c']) desk.mailbox.receive(item)
    await desk.finish()
    desk.mailbox.receive('d')
    assert.deepEqual(desk.calls, ['pause at 2', 'resume at 1', 'pause at 2'])
  })

  it('works with a limit of one item', async () => {
    const desk = new Desk({ maxQueued: 1 })
    desk.mailbox.receive('a')
    desk.mailbox.receive('b')
    assert.deepEqual(desk.calls, ['pause at 1'])
    await desk.finish()
    assert.deepEqual(
      [desk.calls, desk.begun],
      [
        ['pause at 1', 'resume at 0'],
        ['a', 'b'],
      ],
    )
  })
})

describe('whenIdle', () => {
  it('calls back immediately when nothing is running', () => {
    const desk = new Desk()
    let idle = 0
    desk.mailbox.whenIdle(() => idle++)
    assert.equal(idle, 1)
  })

  it('calls back once for each caller when all items are handled', async () => {
    const desk = new Desk()
    const calls: string[] = []
    desk.mailbox.receive('a')
    desk.mailbox.whenIdle(() => calls.push('one'))
    desk.mailbox.receive('b')
    desk.mailbox.whenIdle(() => calls.push('two'))
    await desk.finish()
    assert.deepEqual(calls, [])
    await desk.finish()
    assert.deepEqual(calls, ['one', 'two'])
    desk.mailbox.receive('c')
    await desk.finish()
    assert.deepEqual(calls, ['one', 'two'])
  })

  it('may itself add items', async () => {
    const desk = new Desk()
    desk.mailbox.receive('a')
    desk.mailbox.whenIdle(() => desk.mailbox.receive('b'))
    await desk.finish()
    assert.deepEqual([desk.begun, desk.underWay], [['a', 'b'], 1])
  })
})

describe('discard', () => {
  it('drops queued items, returns their number, and lets the running task end', async () => {
    const desk = new Desk()
    for (const item of ['a', 'b', 'c']) desk.mailbox.receive(item)
    assert.equal(desk.mailbox.discard(), 2)
    assert.equal(desk.mailbox.discard(), 0)
    let idle = false
    desk.mailbox.whenIdle(() => {
      idle = true
    })
    assert.equal(idle, false)
    await desk.finish()
    assert.deepEqual([desk.begun, idle], [['a'], true])
  })

  it('resumes what it paused', () => {
    const desk = new Desk({ maxQueued: 2 })
    for (const item of ['a', 'b', 'c']) desk.mailbox.receive(item)
    desk.mailbox.discard()
    assert.deepEqual([desk.calls, desk.mailbox.paused], [['pause at 2', 'resume at 0'], false])
  })

  it('from within a task ends there', async () => {
    const desk = new Desk()
    let dropped = 0
    desk.mailbox.receive('slow')
    desk.handle = item => {
      desk.begun.push(item)
      dropped = desk.mailbox.discard()
      return undefined
    }
    for (const item of ['a', 'b', 'c']) desk.mailbox.receive(item)
    await desk.finish()
    assert.deepEqual([desk.begun, dropped, desk.mailbox.waiting], [['slow', 'a'], 2, 0])
  })

  it('resets the count of bytes', () => {
    const desk = new Desk({ maxBytes: 10 })
    desk.mailbox.receive('work')
    desk.mailbox.receive('x'.repeat(9))
    desk.mailbox.discard()
    desk.mailbox.receive('x'.repeat(9))
    assert.deepEqual(desk.calls, [])
  })
})

describe('begin', () => {
  it('makes items wait for other work first', async () => {
    const desk = new Desk()
    let open = () => {}
    desk.mailbox.begin(
      new Promise<void>(resolve => {
        open = resolve
      }),
    )
    desk.isSlow = false
    desk.mailbox.receive('a')
    desk.mailbox.receive('b')
    let idle = false
    desk.mailbox.whenIdle(() => {
      idle = true
    })
    await turn()
    assert.deepEqual([desk.begun, idle], [[], false])
    open()
    await turn()
    assert.deepEqual([desk.begun, idle], [['a', 'b'], true])
  })

  it('pauses at the limit like the handling of an item', async () => {
    const desk = new Desk({ maxQueued: 2 })
    desk.mailbox.begin(new Promise(() => {}))
    for (const item of ['a', 'b', 'c']) desk.mailbox.receive(item)
    assert.deepEqual(desk.calls, ['pause at 2'])
  })
})

describe('a mailbox that is never empty', () => {
  it('does not retain handled items', async () => {
    setFlagsFromString('--expose-gc')
    const collect = runInNewContext('gc') as () => void
    let finish = () => {}
    const mailbox = new Mailbox<{ readonly bytes: Buffer }>(
      {
        handle: () =>
          new Promise<void>(resolve => {
            finish = resolve
          }),
        sizeOf: () => 1,
        pause() {},
        resume() {},
      },
      { maxQueued: 10, maxBytes: 10 },
    )
    const left: WeakRef<object>[] = []
    const receive = () => {
      const item = { bytes: Buffer.alloc(16) }
      left.push(new WeakRef(item))
      mailbox.receive(item)
    }
    receive()
    receive()
    for (let i = 0; i < 2000; i++) {
      receive()
      finish()
      await turn()
      assert.ok(mailbox.waiting > 0, 'something always waits')
    }
    await turn()
    collect()
    const alive = left.filter(item => item.deref() !== undefined).length
    assert.ok(mailbox.waiting < 5)
    assert.ok(alive < 200, `${alive} of ${left.length} items are still in memory`)
  })
})
