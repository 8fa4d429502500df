import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { testServer } from '../../src/testing/index.ts'

describe('stdout-pubsub', () => {
  it('prints each event as a line of JSON, with the heading and keys of filtered_websocket (Python)', async () => {
    const server = await testServer(['stdout-pubsub'])
    await server.publish('global', 'hello')
    await server.publish('other', Buffer.from('bytes'))
    await server.stop()
    assert.equal(
      server.printed,
      '--PUBSUB--\n{"type":"message","channel":"global","data":"hello"}\n' +
        '--PUBSUB--\n{"type":"message","channel":"other","data":"bytes"}\n',
    )
  })

  it('prints any payload on one line', async () => {
    const server = await testServer(['stdout-pubsub'])
    await server.publish('global', 'two\nlines "quoted"')
    await server.stop()
    assert.equal(
      server.printed,
      '--PUBSUB--\n{"type":"message","channel":"global","data":"two\\nlines \\"quoted\\""}\n',
    )
  })

  it('passes events on', async t => {
    const server = await testServer(['stdout-pubsub', 'broadcast-pubsub'])
    t.after(() => server.stop())
    const { received } = await server.connect()
    await server.publish('global', 'x')
    assert.deepEqual(received, ['x'])
  })
})
