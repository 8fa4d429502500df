import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { CallFailed } from 'filtered-websocket/kit'
import type { Link, News } from '../../../../filters/messaging/resumption/link.ts'
import { Present } from '../../../../filters/messaging/resumption/present.ts'
import { PeerCalls } from '../../../../filters/messaging/rpc/peer-calls.ts'
import type { OutgoingRequest, Session } from '../../../../filters/messaging/rpc/session.ts'

/** A node with a peer whose answers the test triggers, and the messages of the node to others. */
function node() {
  const sent: [news: News, node: string | undefined][] = []
  const asked: [id: string, resend: boolean][] = []
  let answer = (_: unknown) => {}
  const session = {
    turn: 1,
    client: { signal: new AbortController().signal },
    ask: (id: string, { resend }: OutgoingRequest) => {
      asked.push([id, resend])
      return new Promise(resolve => {
        answer = resolve
      })
    },
  } as unknown as Session
  const present = new Present()
  present.enter('copter1', session)
  const link = { send: (news: News, node?: string) => sent.push([news, node]) > 0 } as unknown as Link
  return {
    sent,
    asked,
    calls: new PeerCalls(present, link, 1),
    present,
    session,
    answer: (value: unknown) => answer(value),
  }
}

const ask = (resend: boolean, ms = 60_000) =>
  ({ type: 'ask', peer: 'copter1', id: 'x', name: 'battery', args: [], kwargs: {}, resend, ms }) as const

describe('a call between nodes', () => {
  it('is sent once on a connection, and answered each time that the other node sends it', async () => {
    const { sent, asked, calls, answer } = node()
    calls.forward(ask(false), 'b')
    calls.forward(ask(true), 'b')
    answer(12)
    await new Promise(setImmediate)
    calls.forward(ask(true), 'b')
    assert.deepEqual(asked, [['x', false]])
    assert.deepEqual(sent, Array(2).fill([{ type: 'answer', id: 'x', value: 12 }, 'b']))
  })

  it('is not kept for longer than its caller waits', t => {
    t.mock.timers.enable({ apis: ['setTimeout'] })
    const { asked, calls } = node()
    calls.forward(ask(false, 1000), 'b')
    t.mock.timers.tick(1000)
    calls.forward(ask(true, 1000), 'b')
    assert.deepEqual(asked, [
      ['x', false],
      ['x', true],
    ])
  })

  it('is sent to the other nodes while the peer is not connected here, with resend from the second time on', async () => {
    const { sent, calls, present, session, asked, answer } = node()
    present.leave('copter1', session)
    const called = calls.call('copter1', { name: 'battery', args: [], kwargs: {} })
    await new Promise(setImmediate)
    calls.retry()
    assert.deepEqual(
      sent.map(([news]) => news.type === 'ask' && [news.name, news.resend]),
      [
        ['battery', false],
        ['battery', true],
      ],
    )
    present.enter('copter1', session)
    calls.retry('copter1')
    calls.retry('copter1')
    calls.retry('other')
    assert.deepEqual(
      asked.map(([, resend]) => resend),
      [true],
    )
    answer(12)
    assert.equal(await called, 12)
    calls.answered({ id: asked[0]![0], value: 'late' })
  })

  it('is not sent again to the newest connection when an older one ends', async () => {
    const { asked, calls, present, session } = node()
    const over = new AbortController()
    let end = (_: unknown) => {}
    const older = {
      turn: 0,
      client: { signal: over.signal },
      ask: () =>
        new Promise((_, reject) => {
          end = reject
        }),
    } as unknown as Session
    present.leave('copter1', session)
    present.enter('copter1', older)
    void calls.call('copter1', { name: 'battery', args: [], kwargs: {} }, { timeout: 100 }).catch(() => {})
    await new Promise(setImmediate)
    present.enter('copter1', session)
    calls.retry('copter1')
    over.abort()
    end(new CallFailed('gone', 'gone'))
    await new Promise(setImmediate)
    calls.retry()
    assert.equal(asked.length, 1)
  })
})
