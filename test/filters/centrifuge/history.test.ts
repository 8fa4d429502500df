import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { page, Raw } from '../../support/centrifuge.ts'
import { serve } from '../../support/peer.ts'

const error = (code: number, message: string) => ({ error: { code, message } })

describe('history', () => {
  /** 10 publications, of which 6 are kept: offsets 5 to 10. */
  const cases: readonly [what: string, request: object, offsets: readonly number[] | ReturnType<typeof error>][] = [
    ['without a limit: the position', {}, []],
    ['limit 0', { limit: 0 }, []],
    ['limit 0 and since', { limit: 0, since: { offset: 7 } }, []],
    ['limit -1: all', { limit: -1 }, [5, 6, 7, 8, 9, 10]],
    ['a limit: the oldest', { limit: 2 }, [5, 6]],
    ['reversed: the newest', { limit: 2, reverse: true }, [10, 9]],
    ['all, reversed', { limit: -1, reverse: true }, [10, 9, 8, 7, 6, 5]],
    ['since', { limit: 2, since: { offset: 6 } }, [7, 8]],
    ['since the newest', { limit: 2, since: { offset: 10 } }, []],
    ['since the oldest that is complete', { limit: -1, since: { offset: 4 } }, [5, 6, 7, 8, 9, 10]],
    ['since one that is not kept', { limit: -1, since: { offset: 3 } }, error(112, 'unrecoverable position')],
    ['since the future', { limit: -1, since: { offset: 11 } }, error(112, 'unrecoverable position')],
    ['since another epoch', { limit: -1, since: { offset: 6, epoch: '_' } }, error(112, 'unrecoverable position')],
    ['before', { limit: 2, since: { offset: 8 }, reverse: true }, [7, 6]],
    ['before, up to the oldest', { limit: -1, since: { offset: 7 }, reverse: true }, [6, 5]],
    ['before the oldest', { limit: 2, since: { offset: 5 }, reverse: true }, []],
    ['before one that is not kept', { limit: 2, since: { offset: 3 }, reverse: true }, []],
    ['a limit that is a string', { limit: '2' }, error(107, 'bad request')],
    ['limit -2', { limit: -2 }, error(107, 'bad request')],
    ['limit 1.5', { limit: 1.5 }, error(107, 'bad request')],
    ['since that is no position', { limit: 1, since: 5 }, error(107, 'bad request')],
    ['a negative offset', { limit: 1, since: { offset: -1 } }, error(107, 'bad request')],
  ]
  for (const [what, request, expected] of cases)
    it(`${what}`, async t => {
      const server = await serve(t, { filters: ['streams', 'centrifuge'], streamsRules: ['a size=6 ttl=5m'] })
      for (let n = 1; n <= 10; n++) await server.append('a', `${n}`)
      const raw = await Raw.connected(server.url)
      raw.send({ id: 2, history: { channel: 'a', ...request } })
      const reply = (await raw.reply(2)) as Record<string, Record<string, unknown>>
      if ('error' in expected) return assert.deepEqual(reply, expected)
      const { publications, epoch, offset } = reply.history!
      assert.deepEqual(
        publications,
        expected.map(n => ({ data: n, offset: n })),
      )
      assert.match(String(epoch), /^[\w-]{6,12}$/)
      assert.equal(offset, 10)
    })

  for (const [what, limit, sizes] of [
    ['all of which fit', 3, [20_000]],
    ['more than fit into a reply', 100, [20_000]],
    ['that are large', 2, [700_000]],
    ['that are larger and larger', 100, [10, 100_000]],
  ] as const)
    it(`before an offset has the publications next to it, ${what}`, async t => {
      const server = await serve(t, { filters: ['streams', 'centrifuge'], streamsRules: ['a size=300 ttl=5m'] })
      const payloads = Array.from({ length: 120 }, (_, n) => `"${'x'.repeat(n < 60 ? sizes[0] : sizes.at(-1)!)}"`)
      for (const payload of payloads) await server.append('a', payload)
      const raw = await Raw.connected(server.url)
      raw.send({ id: 2, history: { channel: 'a', limit, reverse: true, since: { offset: 111 } } })
      const { history } = (await raw.reply(2)) as { history: { publications: { offset: number }[] } }
      const { length } = history.publications
      assert.ok(length > 0 && length <= limit)
      assert.deepEqual(
        history.publications.map(({ offset }) => offset),
        Array.from({ length }, (_, i) => 110 - i),
      )
    })

  it('has at most 300 publications', async t => {
    const server = await serve(t, { filters: ['streams', 'centrifuge'], streamsRules: ['a size=400 ttl=5m'] })
    await server.append(
      'a',
      Array.from({ length: 250 }, () => ({ payload: '1' })),
    )
    await server.append(
      'a',
      Array.from({ length: 150 }, () => ({ payload: '1' })),
    )
    const raw = await Raw.connected(server.url)
    raw.send({ id: 2, history: { channel: 'a', limit: -1 } }, { id: 3, history: { channel: 'a', limit: 400 } })
    for (const id of [2, 3]) {
      const { history } = (await raw.reply(id)) as { history: { publications: { offset: number }[] } }
      assert.deepEqual([history.publications.length, history.publications.at(-1)!.offset], [300, 300])
    }
  })

  it('is what centrifuge-js expects', async t => {
    const server = await serve(t, { filters: ['streams', 'centrifuge'], streamsRules: ['a size=6 ttl=5m'] })
    await server.append('a', [{ payload: '"x"' }, { payload: 'text' }, { payload: Buffer.from('binary') }])
    const { sub, sees } = page(t, server.url, 'a')
    await sees('= subscribed')
    const { publications, offset } = await sub.history({ limit: 10 })
    assert.deepEqual(
      publications.map(({ data }) => data),
      ['x', 'text'],
    )
    assert.equal(offset, 3)
  })
})
