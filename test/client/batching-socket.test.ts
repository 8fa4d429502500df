import assert from 'node:assert/strict'
import { once } from 'node:events'
import type { Socket } from 'node:net'
import { describe, it, type TestContext } from 'node:test'
import { BatchingSocket } from '../../client/batching-socket.ts'
import { serve, until } from '../support/peer.ts'

/** A client of a server that echoes, and the number of its writes. */
async function setUp(t: TestContext) {
  const { url } = await serve(t, { filters: ['echo'] })
  const ws = new BatchingSocket(url)
  t.after(() => ws.terminate())
  const received: string[] = []
  ws.on('message', data => received.push(String(data)))
  let writes = 0
  ws.once('upgrade', ({ socket }) => {
    for (const name of ['_write', '_writev'] as const) {
      const write = socket[name] as Socket['_write']
      socket[name] = (...args: unknown[]) => {
        writes++
        write.apply(socket, args as Parameters<Socket['_write']>)
      }
    }
  })
  return { ws, received, writes: () => writes }
}

describe('a batching socket', () => {
  it('writes the messages of one turn once, in order', async t => {
    const { ws, received, writes } = await setUp(t)
    await once(ws, 'open')
    for (let i = 0; i < 100; i++) ws.send(`${i}`)
    await until(() => received.length === 100, 'the echoes')
    assert.deepEqual(
      received,
      Array.from({ length: 100 }, (_, i) => `${i}`),
    )
    assert.equal(writes(), 1)
    ws.send('later')
    await until(() => received.length === 101, 'another echo')
    assert.equal(writes(), 2)
  })

  it('writes batches of 4 KiB before the end of the turn', async t => {
    const { ws, received, writes } = await setUp(t)
    await once(ws, 'open')
    for (let i = 0; i < 4; i++) ws.send('x'.repeat(5000))
    assert.ok(writes() >= 1)
    await until(() => received.length === 4, 'the echoes')
  })

  it('throws before it is open, and sends the Close frame after its messages', async t => {
    const { ws, received } = await setUp(t)
    assert.throws(() => ws.send('early'), /CONNECTING/)
    await once(ws, 'open')
    ws.send('last')
    ws.close()
    const [code] = await once(ws, 'close')
    assert.deepEqual([code, received], [1005, ['last']])
  })
})
