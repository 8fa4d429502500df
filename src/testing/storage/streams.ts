import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { after, before, describe, it, type TestContext } from 'node:test'
import type { Awaitable } from '../../contract/deadline.ts'
import type { OpenStorage } from '../../contract/storage.ts'
import {
  type Announcement,
  type Append,
  type Appender,
  type AppendOutcome,
  MAX_APPEND_BYTES,
  MAX_APPEND_ENTRIES,
  type NewEntry,
  type Position,
  type ReadRange,
  type StreamBounds,
  type StreamEntry,
  type StreamPage,
  type StreamRef,
  type Streams,
} from '../../contract/streams.ts'
import { until } from './until.ts'

const ALL = { from: 'oldest', entries: 100_000, bytes: 1e9 } as const
const BOUNDS: StreamBounds = { size: 1000, ttlMs: 60_000, full: 'trim' }
/** Names that differ in one code unit, or are special to storages. */
const ODD = ['', ' ', '\0', '\ud800', '\ud801', '\ufffd', '{', '}', '{}', '{a}b', '*', '\r\n', '__proto__', 'ünï']

export interface StreamsSuite {
  readonly storage: () => OpenStorage
  readonly open: () => Awaitable<OpenStorage>
  /** A unique name. */
  readonly key: (what: string) => string
}

/** Registers the conformance tests of capability `streams`. */
export function streamsConformance({ storage, open, key }: StreamsSuite): void {
  describe('streams', () => {
    let received: Received
    before(() => {
      if (storage().streams !== undefined) received = new Received(storage().streams!)
    })

    /** A test that is skipped without the capability; its stream is new. */
    const test = (
      name: string,
      run: (stream: Node, t: TestContext) => Promise<void>,
      bounds: Partial<StreamBounds> = {},
    ) =>
      it(name, async t => {
        const { streams } = storage()
        if (streams === undefined) return t.skip('no streams')
        await run(new Node(streams, { topic: key(name), bounds: { ...BOUNDS, ...bounds } }), t)
      })

    test('append gives offsets without holes, and the entries are read as they were appended', async stream => {
      const entries: NewEntry[] = [
        { payload: 'text ünï \u{1f600}' },
        { payload: Buffer.from([0, 255, 10, 13]) },
        { payload: '' },
        { payload: Buffer.alloc(0) },
        { payload: '\0', format: 'chat.v1' },
        { payload: Buffer.from('binary'), format: '~'.repeat(64), except: randomUUID() },
        { payload: 'x'.repeat(300_000), except: 'ünï' },
      ]
      const start = Date.now()
      const outcomes = await stream.append([
        { entries: entries.slice(0, 1) },
        { entries: entries.slice(1, 4) },
        { entries: [] },
        { entries: entries.slice(4) },
      ])
      const { entries: found, top, floor, attributes, lost } = await stream.read(ALL)
      assert.match(top.epoch, /^[\w-]{6,12}$/)
      assert.deepEqual(
        outcomes,
        [1, 4, 4, 7].map(offset => ({ position: { ...top, offset }, repeated: false })),
      )
      assert.deepEqual(found.map(contentOf), entries)
      assert.deepEqual(offsetsOf(found), [1, 2, 3, 4, 5, 6, 7])
      assert.deepEqual(
        { top: top.offset, floor: floor.offset, attributes, lost },
        { top: 7, floor: 0, attributes: {}, lost: undefined },
      )
      for (const { at } of found) assert.ok(Math.abs(at - start) < 60_000)
    })
    test('the entries of one call have one origin, those of other calls another one', async stream => {
      await stream.say('a', 'b')
      await stream.say('c')
      await stream.other().say('d')
      const origins = (await stream.read(ALL)).entries.map(({ origin }) => origin)
      assert.equal(origins[0], origins[1])
      assert.equal(new Set(origins).size, 3)
    })
    test('a call takes the most entries, and the most bytes', async stream => {
      const most = Array.from({ length: MAX_APPEND_ENTRIES }, (_, i) => ({ entries: [{ payload: `${i}` }] }))
      await stream.append(most)
      await stream.append([{ entries: [{ payload: Buffer.alloc(MAX_APPEND_BYTES) }] }])
      await stream.append([{ entries: [{ payload: 'y'.repeat(2 * MAX_APPEND_BYTES) }] }])
      const { entries } = await stream.read(ALL)
      assert.equal(entries.length, MAX_APPEND_ENTRIES + 2)
      assert.equal(entries.at(-1)!.payload.length, 2 * MAX_APPEND_BYTES)
    })
    test('a Buffer may be used again after the append', async stream => {
      const payload = Buffer.from('before')
      await stream.append([{ entries: [{ payload }] }])
      payload.fill(0)
      assert.deepEqual((await stream.read(ALL)).entries[0]!.payload, Buffer.from('before'))
    })
    test('topics that differ in any code unit are different streams', async ({ streams, ref }) => {
      const names = [...ODD, 'x'.repeat(10_000), `${'x'.repeat(9999)}y`].map(name => ref.topic + name)
      for (const topic of names) await new Node(streams, { ...ref, topic }).say(JSON.stringify(topic))
      for (const topic of names)
        assert.deepEqual(await new Node(streams, { ...ref, topic }).payloads(), [JSON.stringify(topic)])
    })
    test('read, tops and append make a stream with an epoch and the top 0', async ({ streams, ref }) => {
      const refs = ['a', 'b', 'c'].map(name => ({ ...ref, topic: ref.topic + name }))
      const page = await streams.read(refs[0]!, ALL)
      assert.deepEqual(
        { ...page, top: page.top.offset },
        { ...page, entries: [], top: 0, floor: page.top, attributes: {} },
      )
      const tops = await streams.tops(refs)
      assert.deepEqual(tops[0], page.top)
      assert.equal(new Set(tops.map(({ epoch }) => epoch)).size, 3)
      assert.deepEqual(await streams.tops(refs), tops)
      assert.deepEqual(await new Node(streams, refs[1]!).say('x'), { ...tops[1], offset: 1 })
      assert.deepEqual(offsetsOf(await streams.tops(refs)), [0, 1, 0])
      assert.deepEqual(await streams.tops([]), [])
    })
    test('tops of 1,500 streams come in order', async ({ streams, ref }) => {
      const refs = Array.from({ length: 1500 }, (_, i) => ({ ...ref, topic: `${ref.topic}${i}` }))
      const { epoch } = await new Node(streams, refs[1234]!).say('x')
      const tops = await streams.tops(refs)
      assert.deepEqual(tops[1234], { epoch, offset: 1 })
      assert.equal(new Set(tops.map(top => top.epoch)).size, 1500)
      assert.deepEqual(await streams.tops(refs.toReversed()), tops.toReversed())
    })

    describe('attributes', () => {
      test('set: changed with the append, and alone', async stream => {
        await stream.append([{ entries: [{ payload: 'a' }], set: { type: 'json', closed: '' } }])
        assert.deepEqual({ ...(await stream.read(ALL)).attributes }, { type: 'json', closed: '' })
        const [outcome] = await stream.append([{ entries: [], set: { closed: null, type: 'text', none: null } }])
        assert.deepEqual({ ...(await stream.read(ALL)).attributes }, { type: 'text' })
        assert.equal(positionOf(outcome!).offset, 1)
      })
      test('any strings are names and values', async stream => {
        const attributes = Object.fromEntries([...ODD, 'offset', 'x'.repeat(1000)].map(name => [name, name]))
        await stream.append([{ entries: [], set: attributes }])
        assert.deepEqual({ ...(await stream.read(ALL)).attributes }, attributes)
        const [outcome] = await stream.append([{ entries: [], when: { ...attributes, missing: null } }])
        assert.equal(positionOf(outcome!).offset, 0)
      })
      test('when: an append that it does not match is refused with the attributes that it names, and the top', async stream => {
        const { epoch } = await stream.say('a')
        await stream.append([{ entries: [], set: { producer: '7', type: 'text' } }])
        const refused = { refused: 'attributes', attributes: { producer: '7' }, top: { epoch, offset: 1 } }
        for (const when of [{ producer: '6' }, { producer: null }, { producer: '7', closed: '1' }])
          assert.deepEqual(await stream.append([{ entries: [{ payload: 'x' }], when, set: { producer: '8' } }]), [
            refused,
          ])
        assert.deepEqual(await stream.payloads(), ['a'])
        await stream.append([{ entries: [{ payload: 'b' }], when: { producer: '7', closed: null } }])
        assert.deepEqual(await stream.payloads(), ['a', 'b'])
      })
      test('each append of a call sees what those before it have set', async stream => {
        const one = (payload: string, when: string | null, set?: string): Append => ({
          entries: [{ payload }],
          when: { state: when },
          ...(set !== undefined && { set: { state: set } }),
        })
        const outcomes = await stream.append([
          one('a', null, '1'),
          one('b', null),
          one('c', '1', '2'),
          one('d', '1'),
          one('e', '2'),
        ])
        assert.deepEqual(outcomes.map(kindOf), [1, 'attributes', 2, 'attributes', 3])
        assert.deepEqual(outcomes[1], {
          refused: 'attributes',
          attributes: { state: '1' },
          top: { ...positionOf(outcomes[0]!), offset: 1 },
        })
        assert.deepEqual(await stream.payloads(), ['a', 'c', 'e'])
      })
    })

    describe('keys', () => {
      test('an append with a key of an earlier one gives its position, and changes nothing', async stream => {
        for (const k of [...ODD, 'k'.repeat(10_000)]) {
          const append = { entries: [{ payload: k }, { payload: k }], key: k, set: { last: k } }
          const [first] = await stream.append([append])
          await stream.append([{ entries: [], set: { last: 'other' } }])
          const [second] = await stream.other().append([{ ...append, when: { last: 'nothing' } }])
          assert.deepEqual(second, { ...first, repeated: true }, JSON.stringify(k))
          assert.deepEqual({ ...(await stream.read(ALL)).attributes }, { last: 'other' })
        }
        assert.equal((await stream.top()).offset, 2 * (ODD.length + 1))
      })
      test('also within one call', async stream => {
        const entries = [{ payload: 'x' }]
        const outcomes = await stream.append([
          { entries, key: 'a' },
          { entries },
          { entries, key: 'a' },
          { entries, key: 'b' },
        ])
        assert.deepEqual(
          outcomes.map(outcome => positionOf(outcome).offset),
          [1, 2, 1, 3],
        )
        assert.deepEqual(
          outcomes.map(outcome => 'repeated' in outcome && outcome.repeated),
          [false, false, true, false],
        )
      })
      test('a refused append does not use its key', async stream => {
        const append = { entries: [{ payload: 'x' }], key: 'k', when: { open: '1' } }
        assert.deepEqual((await stream.append([append])).map(kindOf), ['attributes'])
        await stream.append([{ entries: [], set: { open: '1' } }])
        assert.deepEqual((await stream.append([append])).map(kindOf), [1])
      })
      test('keys belong to a stream', async stream => {
        const append = { entries: [{ payload: 'x' }], key: 'k' }
        await stream.append([append])
        const other = new Node(stream.streams, { ...stream.ref, topic: `${stream.ref.topic} other` })
        assert.equal('repeated' in (await other.append([append]))[0]!, true)
        assert.equal((await other.top()).offset, 1)
      })
    })

    describe('repeated calls', () => {
      test('the same call number appends nothing, and gives the same outcomes', async stream => {
        await stream.append([{ entries: [], set: { a: '1' } }])
        const appends: Append[] = [
          { entries: [{ payload: 'x' }, { payload: 'y' }], set: { a: '2' } },
          { entries: [{ payload: 'z' }], when: { a: '1' } },
          { entries: [{ payload: 'k' }], key: 'k' },
          { entries: [{ payload: 'k' }], key: 'k' },
        ]
        const outcomes = await stream.append(appends)
        await stream.other().append([{ entries: [{ payload: 'other' }], set: { a: '3' } }])
        assert.deepEqual(await stream.again(appends), outcomes)
        assert.deepEqual(await stream.again(appends), outcomes)
        assert.deepEqual(await stream.payloads(), ['x', 'y', 'k', 'other'])
        assert.deepEqual({ ...(await stream.read(ALL)).attributes }, { a: '3' })
      })
      test('two at the same time append once', async stream => {
        const appends = [{ entries: [{ payload: 'x' }] }]
        const [one, two] = await Promise.all([stream.append(appends), stream.again(appends)])
        assert.deepEqual(one, two)
        assert.deepEqual(await stream.payloads(), ['x'])
      })
      test('after a new epoch they give the position of the old one', async stream => {
        const appends = [{ entries: [{ payload: 'x' }] }]
        const outcomes = await stream.append(appends)
        await stream.streams.remove(stream.ref.topic)
        assert.deepEqual(await stream.again(appends), outcomes)
        assert.deepEqual(await stream.payloads(), [])
      })
      test('a lower call number is rejected, and appends nothing', async stream => {
        await stream.say('a')
        await stream.say('b')
        await assert.rejects(async () => stream.again([{ entries: [{ payload: 'late' }] }], 1))
        assert.deepEqual(await stream.payloads(), ['a', 'b'])
      })
      test('call numbers may have gaps, and each node has its own', async stream => {
        stream.call = 2 ** 40
        await stream.say('a')
        await stream.other().say('b')
        await stream.say('c')
        assert.deepEqual(await stream.payloads(), ['a', 'b', 'c'])
      })
    })

    describe('bounds', () => {
      test(
        'trim: exactly the newest entries are kept',
        async stream => {
          for (let i = 1; i <= 8; i++) {
            await stream.say(`${i}`)
            assert.deepEqual(
              await stream.payloads(),
              ['1', '2', '3', '4', '5', '6', '7', '8'].slice(Math.max(0, i - 3), i),
            )
          }
          await stream.say(...'abcdefgh')
          assert.deepEqual(await stream.payloads(), ['f', 'g', 'h'])
          assert.equal((await stream.read(ALL)).floor.offset, 13)
        },
        { size: 3 },
      )
      test(
        'refuse: an append without room is refused whole, with the top',
        async stream => {
          const { epoch } = await stream.say('a', 'b')
          const outcomes = await stream.append([one('c', 'd'), one('e'), one('f'), { entries: [] }])
          assert.deepEqual(outcomes.map(kindOf), ['full', 3, 'full', 3])
          assert.deepEqual(outcomes[0], { refused: 'full', attributes: {}, top: { epoch, offset: 2 } })
          await stream.streams.trim(stream.ref, { epoch, offset: 1 })
          await stream.say('g')
          assert.deepEqual(await stream.payloads(), ['b', 'e', 'g'])
        },
        { size: 3, full: 'refuse' },
      )
      test('a smaller size applies from the next append on', async stream => {
        await stream.say(...'abcdef')
        const small = new Node(stream.streams, { ...stream.ref, bounds: { ...stream.ref.bounds, size: 2 } })
        await small.say('g')
        assert.deepEqual(await stream.payloads(), ['f', 'g'])
      })
      test(
        'bytes, trim: the newest entries whose payloads have at most these bytes are kept',
        async stream => {
          for (const [payload, expected] of [
            ['aaaa', ['aaaa']],
            ['bbbbbb', ['aaaa', 'bbbbbb']],
            ['', ['aaaa', 'bbbbbb', '']],
            ['c', ['bbbbbb', '', 'c']],
            ['üüüü', ['', 'c', 'üüüü']],
            ['x'.repeat(11), []],
            ['d', ['d']],
          ] as const) {
            await stream.say(payload)
            assert.deepEqual(await stream.payloads(), expected, payload)
          }
          await stream.append([one('e', 'f'), one('g'.repeat(5), 'h'.repeat(5)), one('')])
          assert.deepEqual(await stream.payloads(), ['g'.repeat(5), 'h'.repeat(5), ''])
        },
        { bytes: 10 },
      )
      test(
        'bytes, refuse: an append beyond them is refused whole; trimmed entries make room',
        async stream => {
          const outcomes = await stream.append([
            one('a'.repeat(6)),
            one('b', 'c'.repeat(4)),
            one('d'.repeat(4)),
            one('e'),
            one(''),
            { entries: [], set: { a: '1' } },
          ])
          assert.deepEqual(outcomes.map(kindOf), [1, 'full', 2, 'full', 3, 3])
          const { top } = await stream.read(ALL)
          await stream.streams.trim(stream.ref, { ...top, offset: 1 })
          assert.deepEqual((await stream.append([one('f'.repeat(7)), one('g'.repeat(6))])).map(kindOf), ['full', 4])
          assert.deepEqual((await stream.append([one('h')])).map(kindOf), ['full'])
        },
        { bytes: 10, full: 'refuse' },
      )
      test(
        'bytes, refuse: expired entries make room',
        async stream => {
          await stream.say('a'.repeat(10))
          let kind: number | string = 'full'
          await until(async () => {
            kind = kindOf((await stream.append([one('b'.repeat(10))]))[0]!)
            return kind !== 'full'
          })
          assert.equal(kind, 2)
        },
        { bytes: 10, full: 'refuse', ttlMs: 60 },
      )
      test(
        'an append without entries is never full',
        async stream => {
          await stream.say('aa', 'bb')
          const small = { ...stream.ref.bounds, size: 1, bytes: 1 }
          const outcomes = await new Node(stream.streams, { ...stream.ref, bounds: small }).append([
            { entries: [], set: { a: '1' } },
            one('c'),
          ])
          assert.deepEqual(outcomes.map(kindOf), [2, 'full'])
        },
        { full: 'refuse' },
      )
      test(
        'ttl: expired entries are lost, and the epoch and the top stay',
        async stream => {
          const { epoch } = await stream.say('a', 'b')
          await until(async () => (await stream.payloads()).length === 0)
          const page = await stream.read({ after: { epoch, offset: 1 }, entries: 10, bytes: 1000 })
          assert.deepEqual([page.lost, page.top, page.floor], ['trimmed', { epoch, offset: 2 }, { epoch, offset: 2 }])
          const kept = new Node(stream.streams, { ...stream.ref, bounds: BOUNDS })
          assert.deepEqual(await kept.say('c'), { epoch, offset: 3 })
          assert.deepEqual(
            offsetsOf((await kept.read({ after: { epoch, offset: 2 }, entries: 10, bytes: 1000 })).entries),
            [3],
          )
        },
        { ttlMs: 80 },
      )
      test(
        'ttl: an entry expires while later ones are kept',
        async stream => {
          await stream.say('first')
          await until(async () => {
            await stream.say('later')
            return (await stream.payloads())[0] === 'later'
          })
          const { entries, top, floor } = await stream.read(ALL)
          assert.equal(entries.length, top.offset - floor.offset)
          assert.equal(entries.at(-1)?.offset ?? top.offset, top.offset)
        },
        { ttlMs: 120 },
      )
      test(
        'ttl: expired entries make room',
        async stream => {
          await stream.say('a')
          await until(async () => kindOf((await stream.append([one('b')]))[0]!) === 2)
        },
        { size: 1, full: 'refuse', ttlMs: 60 },
      )
    })

    describe('read', () => {
      test('pages by entries and bytes', async stream => {
        const { epoch } = await stream.say(
          ...Array.from({ length: 20 }, (_, i) => String.fromCharCode(97 + i).repeat(1000)),
        )
        const read = async (range: ReadRange) => offsetsOf((await stream.read(range)).entries)
        const after = { epoch, offset: 5 }
        for (const [range, expected] of [
          [{ after, entries: 3, bytes: 1e6 }, [6, 7, 8]],
          [{ after, entries: 100, bytes: 1e6 }, span(6, 20)],
          [{ after, entries: 100, bytes: 3500 }, [6, 7, 8]],
          [{ after, entries: 2, bytes: 3500 }, [6, 7]],
          [{ after, entries: 100, bytes: 1 }, [6]],
          [{ after, entries: 0, bytes: 1e6 }, []],
          [{ after: { epoch, offset: 0 }, entries: 2, bytes: 1e6 }, [1, 2]],
          [{ after: { epoch, offset: 19 }, entries: 2, bytes: 1e6 }, [20]],
          [{ after: { epoch, offset: 20 }, entries: 2, bytes: 1e6 }, []],
          [{ from: 'oldest', entries: 2, bytes: 1e6 }, [1, 2]],
          [{ from: 'oldest', entries: 5, bytes: 1 }, [1]],
          [{ from: 'newest', entries: 3, bytes: 1e6 }, [18, 19, 20]],
          [{ from: 'newest', entries: 100, bytes: 1e6 }, span(1, 20)],
          [{ from: 'newest', entries: 100, bytes: 2500 }, [19, 20]],
          [{ from: 'newest', entries: 100, bytes: 1 }, [20]],
          [{ from: 'newest', entries: 0, bytes: 1e6 }, []],
        ] as const)
          assert.deepEqual(await read(range), expected, JSON.stringify(range))
      })
      test('pages together are all entries, of any sizes', async stream => {
        const sizes = Array.from({ length: 60 }, (_, i) => (i * 7919) % (i % 10 === 0 ? 20_000 : 300))
        await stream.say(...sizes.map(size => 'x'.repeat(size)))
        const found: StreamEntry[] = []
        let page: StreamPage
        let position = { ...(await stream.top()), offset: 0 }
        do {
          page = await stream.read({ after: position, entries: 7, bytes: 5000 })
          const bytes = page.entries.reduce((sum, { payload }) => sum + payload.length, 0)
          assert.ok(page.entries.length === 1 || bytes <= 5000, `${bytes} bytes`)
          found.push(...page.entries)
          position = { ...position, offset: found.at(-1)!.offset }
        } while (position.offset < page.top.offset)
        assert.deepEqual(
          found.map(({ payload }) => payload.length),
          sizes,
        )
        assert.deepEqual(offsetsOf(found), span(1, 60))
      })
      test(
        'a position of another epoch, trimmed or ahead is lost',
        async stream => {
          const { epoch } = await stream.say(...'abcdef')
          const other = epoch === 'aaaaaaaa' ? 'bbbbbbbb' : 'aaaaaaaa'
          for (const [position, lost, expected] of [
            [{ epoch: other, offset: 5 }, 'epoch', []],
            [{ epoch: other, offset: 0 }, 'epoch', []],
            [{ epoch: '', offset: 5 }, 'epoch', []],
            [{ epoch, offset: 0 }, 'trimmed', []],
            [{ epoch, offset: 2 }, 'trimmed', []],
            [{ epoch, offset: 3 }, undefined, [4, 5, 6]],
            [{ epoch, offset: 6 }, undefined, []],
            [{ epoch, offset: 7 }, 'ahead', []],
            [{ epoch, offset: Number.MAX_SAFE_INTEGER }, 'ahead', []],
          ] as const) {
            const page = await stream.read({ after: position, entries: 10, bytes: 1000 })
            assert.deepEqual([page.lost, offsetsOf(page.entries)], [lost, expected], JSON.stringify(position))
            assert.deepEqual(
              [page.top, page.floor],
              [
                { epoch, offset: 6 },
                { epoch, offset: 3 },
              ],
            )
          }
        },
        { size: 3 },
      )
    })

    describe('trim and remove', () => {
      test('trim deletes up to and including a position', async stream => {
        const { epoch } = await stream.say(...'abcdef')
        const trim = async (position: Position) => {
          await stream.streams.trim(stream.ref, position)
          return (await stream.payloads()).join('')
        }
        assert.equal(
          await trim({ epoch: `${epoch.slice(0, -1)}${epoch.endsWith('a') ? 'b' : 'a'}`, offset: 3 }),
          'abcdef',
        )
        assert.equal(await trim({ epoch, offset: 0 }), 'abcdef')
        assert.equal(await trim({ epoch, offset: 2 }), 'cdef')
        assert.equal(await trim({ epoch, offset: 1 }), 'cdef')
        assert.equal(await trim({ epoch, offset: 100 }), '')
        const { top, floor } = await stream.read(ALL)
        assert.deepEqual(
          [top, floor],
          [
            { epoch, offset: 6 },
            { epoch, offset: 6 },
          ],
        )
        await stream.say('g')
        assert.equal(await trim({ epoch, offset: 6 }), 'g')
      })
      test('remove: the next stream has another epoch, and neither entries, attributes nor keys', async stream => {
        const append = { entries: [{ payload: 'a' }], key: 'k', set: { a: '1' } }
        const [before] = await stream.append([append])
        await stream.streams.remove(stream.ref.topic)
        const page = await stream.read(ALL)
        assert.notEqual(page.top.epoch, positionOf(before!).epoch)
        assert.deepEqual([page.entries, page.top.offset, { ...page.attributes }], [[], 0, {}])
        const [after] = await stream.append([append])
        assert.deepEqual(after, { position: { ...page.top, offset: 1 }, repeated: false })
        await stream.streams.remove(`${stream.ref.topic} that does not exist`)
      })
    })

    describe('fence', () => {
      test('a known position beyond the top begins an epoch without the old entries', async stream => {
        const { epoch } = await stream.say('a', 'b')
        await stream.append([{ entries: [], set: { a: '1' } }])
        const [outcome] = await stream.append([one('c')], { epoch, offset: 3 })
        const page = await stream.read(ALL)
        assert.notEqual(page.top.epoch, epoch)
        assert.deepEqual(outcome, { position: { epoch: page.top.epoch, offset: 1 }, repeated: false })
        assert.deepEqual([page.entries.map(({ payload }) => payload), { ...page.attributes }], [['c'], {}])
      })
      test('without appends too', async stream => {
        const { epoch } = await stream.say('a')
        assert.deepEqual(await stream.append([], { epoch, offset: Number.MAX_SAFE_INTEGER }), [])
        const top = await stream.top()
        assert.equal(top.offset, 0)
        assert.notEqual(top.epoch, epoch)
      })
      test('another known position does not', async stream => {
        const { epoch } = await stream.say('a', 'b')
        const known = [
          { epoch, offset: 0 },
          { epoch, offset: 2 },
          { epoch: 'otherepoch', offset: 100 },
        ]
        for (const position of known) await stream.append([], position)
        assert.deepEqual(await stream.top(), { epoch, offset: 2 })
      })
    })

    describe('announcements', () => {
      test('each append is announced with its entries, in order', async stream => {
        const { topic } = stream.ref
        await stream.streams.listen(topic)
        for (let i = 0; i < 20; i++)
          await stream.append([one(`${i}a`), { entries: [{ payload: Buffer.from([i]), format: 'f', except: 'me' }] }])
        await until(() => received.of(topic).length >= 20)
        const got = received.of(topic)
        const { entries, top } = await stream.read(ALL)
        assert.deepEqual(
          got.flatMap(announcement => announcement.entries),
          entries,
        )
        assert.deepEqual(
          got.map(announcement => announcement.top),
          span(1, 20).map(i => ({ ...top, offset: 2 * i })),
        )
      })
      test(
        'an entry is announced that the bounds do not keep',
        async stream => {
          await stream.streams.listen(stream.ref.topic)
          await stream.say(...'abcde')
          await until(() => received.of(stream.ref.topic).length >= 1)
          assert.deepEqual(offsetsOf(received.of(stream.ref.topic)[0]!.entries), [1, 2, 3, 4, 5])
        },
        { size: 2 },
      )
      test('a new epoch, removal and changed attributes are announced, with entries only if there are new ones', async stream => {
        const { topic } = stream.ref
        await stream.streams.listen(topic)
        const { epoch } = await stream.say('a', 'b')
        await stream.append([{ entries: [], set: { closed: '1' } }])
        await stream.append([], { epoch, offset: 9 })
        const fenced = await stream.top()
        await stream.streams.remove(topic)
        const removed = await stream.top()
        await stream.append([one('c')], { ...removed, offset: 9 })
        const last = await stream.top()
        await until(() => received.of(topic).length >= 5)
        assert.deepEqual(
          received.of(topic).map(({ top, entries }) => [top, offsetsOf(entries)]),
          [
            [{ epoch, offset: 2 }, [1, 2]],
            [{ epoch, offset: 2 }, []],
            [fenced, []],
            [removed, []],
            [last, [1]],
          ],
        )
        assert.equal(new Set([epoch, fenced.epoch, removed.epoch, last.epoch]).size, 4)
      })
      test('what appends nothing is not announced', async stream => {
        const { topic } = stream.ref
        await stream.streams.listen(topic)
        const appends: Append[] = [{ ...one('a'), key: 'k' }]
        const [outcome] = await stream.append(appends)
        await stream.again(appends)
        await stream.append(appends)
        await stream.append([{ ...one('b'), when: { none: '1' } }, { entries: [] }])
        await stream.append([], positionOf(outcome!))
        await stream.streams.trim(stream.ref, positionOf(outcome!))
        await stream.say('last')
        await until(() => received.of(topic).some(({ top }) => top.offset === 2))
        assert.deepEqual(
          received.of(topic).map(({ entries }) => offsetsOf(entries)),
          [[1], [2]],
        )
      })
      test('arrive between listen and ignore, of this topic only', async stream => {
        const { streams, ref } = stream
        const other = new Node(streams, { ...ref, topic: `${ref.topic}{other` })
        await stream.say('before')
        await streams.listen(ref.topic)
        await stream.say('heard')
        await until(() => received.of(ref.topic).length >= 1)
        streams.ignore(ref.topic)
        await streams.listen(other.ref.topic)
        await stream.say('after')
        await other.say('x')
        await until(() => received.of(other.ref.topic).length >= 1)
        await streams.listen(ref.topic)
        await stream.say('again')
        await until(() => received.of(ref.topic).length >= 2)
        assert.deepEqual(
          received.of(ref.topic).map(({ top }) => top.offset),
          [2, 4],
        )
      })
      test('topics that differ in any code unit are different', async ({ streams, ref }) => {
        const names = [...ODD, 'x'.repeat(10_000)].map(name => ref.topic + name)
        await Promise.all(names.map(async topic => streams.listen(topic)))
        for (const topic of names) await new Node(streams, { ...ref, topic }).say(JSON.stringify(topic))
        await until(() => names.every(topic => received.of(topic).length > 0))
        for (const topic of names)
          assert.deepEqual(
            received.of(topic).map(({ entries }) => entries[0]!.payload),
            [JSON.stringify(topic)],
          )
      })
    })

    describe('several nodes', () => {
      test('concurrent appends: each entry once, in one order, which all announcements have', async (stream, t) => {
        const { topic } = stream.ref
        // Nodes that the storage connects are different storages, else one storage is used by several appenders.
        const opened = storage().carrier === undefined ? undefined : await open()
        t.after(() => opened?.close?.())
        const listeners = [received, ...(opened === undefined ? [] : [new Received(opened.streams!)])]
        for (const { streams } of listeners) await streams.listen(topic)
        const nodes = span(0, 3).map(i => new Node(listeners[i % listeners.length]!.streams, stream.ref))
        await Promise.all(
          nodes.map(async (node, n) => {
            for (let i = 0; i < 50; i++) await node.say(`${n}:${i}`, `${n}:${i}+`)
          }),
        )
        const { offset } = await stream.top()
        for (const listener of listeners) await until(() => listener.of(topic).at(-1)?.top.offset === offset)
        const { entries } = await stream.read(ALL)
        assert.deepEqual(offsetsOf(entries), span(1, 400))
        for (const n of [0, 1, 2, 3]) {
          const own = entries.map(({ payload }) => String(payload)).filter(payload => payload.startsWith(`${n}:`))
          assert.deepEqual(
            own,
            span(0, 49).flatMap(i => [`${n}:${i}`, `${n}:${i}+`]),
          )
        }
        for (const listener of listeners)
          assert.deepEqual(
            listener.of(topic).flatMap(announcement => announcement.entries),
            entries,
          )
      })
      test('concurrent appends with when: one of them succeeds', async stream => {
        const outcomes = await Promise.all(
          span(1, 10).map(i =>
            stream.other().append([{ entries: [{ payload: `${i}` }], when: { owner: null }, set: { owner: `${i}` } }]),
          ),
        )
        assert.equal(outcomes.filter(([outcome]) => kindOf(outcome!) === 1).length, 1)
        const { entries, attributes } = await stream.read(ALL)
        assert.deepEqual([entries.length, attributes.owner], [1, entries[0]!.payload])
      })
      test('concurrent appends with one key append once', async stream => {
        const outcomes = await Promise.all(span(1, 10).map(() => stream.other().append([{ ...one('x'), key: 'k' }])))
        assert.deepEqual(
          outcomes.map(([outcome]) => positionOf(outcome!).offset),
          Array(10).fill(1),
        )
        assert.equal(outcomes.filter(([outcome]) => 'repeated' in outcome! && !outcome.repeated).length, 1)
      })
      test('concurrent first uses agree on one epoch', async ({ streams, ref }) => {
        const tops = await Promise.all(span(1, 10).map(() => new Node(streams, ref).top()))
        assert.equal(new Set(tops.map(({ epoch }) => epoch)).size, 1)
      })
    })

    after(() => {
      for (const topic of received?.topics ?? []) storage().streams?.ignore(topic)
    })
  })
}

/** A node that uses one stream. */
class Node {
  readonly streams: Streams
  readonly ref: StreamRef
  call = 0
  readonly #node = randomUUID()

  constructor(streams: Streams, ref: StreamRef) {
    this.streams = streams
    this.ref = ref
  }

  /** Another node. */
  other(): Node {
    return new Node(this.streams, this.ref)
  }

  append(appends: readonly Append[], known?: Position): Promise<readonly AppendOutcome[]> {
    return this.#append(appends, { node: this.#node, call: ++this.call, ...(known !== undefined && { known }) })
  }

  /** Repeats a call. Default: the last one. */
  again(appends: readonly Append[], call = this.call): Promise<readonly AppendOutcome[]> {
    return this.#append(appends, { node: this.#node, call })
  }

  /** Appends payloads in one append; returns the position of the last one. */
  async say(...payloads: readonly string[]): Promise<Position> {
    const [outcome] = await this.append([one(...payloads)])
    return positionOf(outcome!)
  }

  async read(range: ReadRange): Promise<StreamPage> {
    return this.streams.read(this.ref, range)
  }

  async payloads(): Promise<readonly (string | Buffer)[]> {
    return (await this.read(ALL)).entries.map(({ payload }) => payload)
  }

  async top(): Promise<Position> {
    return (await this.streams.tops([this.ref]))[0]!
  }

  async #append(appends: readonly Append[], appender: Appender): Promise<readonly AppendOutcome[]> {
    return this.streams.append(this.ref, appends, appender)
  }
}

/** The announcements of a storage by topic. */
class Received {
  readonly streams: Streams
  readonly #announcements = new Map<string, Announcement[]>()

  constructor(streams: Streams) {
    this.streams = streams
    streams.start({
      announced: announcement => {
        const { topic } = announcement
        this.#announcements.set(topic, [...this.of(topic), announcement])
      },
      interrupted: () => {},
    })
  }

  get topics(): Iterable<string> {
    return this.#announcements.keys()
  }

  of(topic: string): readonly Announcement[] {
    return this.#announcements.get(topic) ?? []
  }
}

const one = (...payloads: readonly string[]): Append => ({ entries: payloads.map(payload => ({ payload })) })

function positionOf(outcome: AppendOutcome): Position {
  assert.ok('position' in outcome, `refused: ${JSON.stringify(outcome)}`)
  return outcome.position
}

/** The offset, or the reason of a refusal. */
const kindOf = (outcome: AppendOutcome) => ('position' in outcome ? outcome.position.offset : outcome.refused)

const offsetsOf = (items: readonly { readonly offset: number }[]) => items.map(({ offset }) => offset)

/** What was appended. */
const contentOf = ({ offset: _, at: __, origin: ___, ...content }: StreamEntry): NewEntry => content

/** Integers from `first` to `last`. */
const span = (first: number, last: number) => Array.from({ length: last - first + 1 }, (_, i) => first + i)
