import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { Client, Closed, Codec, FilterModule, Payload, Server } from '../../src/index.ts'
import { Peer, serve, until } from '../support/peer.ts'

/** Clients of a codec, and how they ended for the server. */
function speaking(closing: Codec['closing']) {
  const ends: Closed[] = []
  let server: Server | undefined
  const codec: Codec = { name: 'own', encode: payload => payload, ...(closing && { closing }) }
  const filter: FilterModule = {
    start: started => {
      server = started
    },
    open: client => {
      client.codec = codec
    },
    message: (payload: Payload, client: Client) => client.disconnect(Number(payload), 'because'),
    disconnect: (_, closed) => void ends.push(closed),
  }
  return { filter, ends, server: () => server! }
}

const plus100 = (code: number, reason: string) => ({ code: code + 100, reason: `own: ${reason}` })

describe('a codec states close codes in its own numbers', () => {
  const cut = (code: number) => ({ code, reason: 'x'.repeat(200) })
  for (const [what, closing, code, reason, errors] of [
    ['and its own words', plus100, 4101, 'own: because', 0],
    ['with a reason that is cut', cut, 4001, 'x'.repeat(123), 0],
    ['unless it has none', undefined, 4001, 'because', 0],
    ['unless it fails', () => assert.fail('broken'), 4001, 'because', 1],
    ['unless an endpoint must not send the code', () => ({ code: 1005, reason: '' }), 4001, 'because', 1],
    ['unless it returns none', () => undefined as never, 4001, 'because', 1],
  ] as const) {
    it(what, async t => {
      const { filter, ends, server } = speaking(closing)
      const { url } = await serve(t, { filters: [filter] })
      const peer = await Peer.open(url)
      peer.send('4001')
      assert.deepEqual(await peer.end(), { code, reason })
      await until(() => ends.length > 0)
      assert.deepEqual(ends, [{ code: 4001, reason: 'because', clean: true }])
      const { counters } = server()
      assert.deepEqual([{ ...counters.closes }, counters.errors], [{ 4001: 1 }, errors])
    })
  }

  it('at a stop', async t => {
    const { filter } = speaking(code => ({ code: code === 1001 ? 3001 : code, reason: 'shutdown' }))
    const server = await serve(t, { filters: [filter] })
    const peer = await Peer.open(server.url)
    await server.close()
    assert.deepEqual(await peer.end(), { code: 3001, reason: 'shutdown' })
  })

  it('but not in the answer to a Close frame of the peer', async t => {
    const { filter } = speaking(plus100)
    const { url } = await serve(t, { filters: [filter] })
    const peer = await Peer.open(url)
    peer.ws.close(4000, 'bye')
    assert.deepEqual(await peer.end(), { code: 4000, reason: 'bye' })
  })
})
