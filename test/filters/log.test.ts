import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { testServer } from '../../src/testing/index.ts'

const INFO = 30

/** The log lines of the filter, without time and level. */
async function logged(
  options: Readonly<Record<string, unknown>>,
  act: (server: Awaited<ReturnType<typeof testServer>>) => Promise<void>,
): Promise<readonly Record<string, unknown>[]> {
  const server = await testServer(['log'], options)
  await act(server)
  await server.stop()
  return server.logged
    .filter(({ filter, level }) => filter === 'log' && level === INFO)
    .map(({ time: _time, level: _level, filter: _filter, ...line }) => line)
}

describe('log', () => {
  it('logs one line per event of a client', async () => {
    let id = ''
    const lines = await logged({}, async server => {
      const { client, say, leave } = await server.connect({ remote: '10.0.0.1' })
      id = client.id
      await say('hi')
      await leave(4000, 'bye')
    })
    assert.deepEqual(lines, [
      { client: id, remote: '10.0.0.1', transport: 'websocket', msg: 'open' },
      { client: id, bytes: 2, text: 'hi', msg: 'message' },
      { client: id, code: 4000, reason: 'bye', clean: true, msg: 'disconnect' },
    ])
  })

  it('logs one line per event of a channel', async () => {
    const lines = await logged({}, server => server.publish('global', 'news'))
    assert.deepEqual(lines, [{ channel: 'global', bytes: 4, text: 'news', msg: 'event' }])
  })

  it('counts bytes, not characters, and logs only the size of binary messages', async () => {
    const lines = await logged({}, async server => {
      const { say } = await server.connect()
      await say('grüß')
      await say(Buffer.from([1, 2, 3]))
    })
    assert.deepEqual(
      lines.slice(1, 3).map(({ bytes, text }) => [bytes, text]),
      [
        [6, 'grüß'],
        [3, undefined],
      ],
    )
  })

  it('truncates text at --log-max, and logs none with 0', async () => {
    for (const [max, text] of [
      [3, 'abc'],
      [5, 'abcde'],
      [0, undefined],
    ] as const) {
      const lines = await logged({ 'log-max': max }, async server => {
        await (await server.connect()).say('abcde')
      })
      assert.deepEqual([lines[1]!.bytes, lines[1]!.text], [5, text])
    }
  })

  it('passes messages on, and logs them before and after another filter', async t => {
    const server = await testServer(['log', { message: payload => `${payload}!` }, 'log', 'echo'])
    t.after(() => server.stop())
    const { received, say } = await server.connect()
    await say('hi')
    assert.deepEqual(received, ['hi!'])
    assert.deepEqual(
      server.logged.filter(({ msg }) => msg === 'message').map(({ text }) => text),
      ['hi', 'hi!'],
    )
  })
})
