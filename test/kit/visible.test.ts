import assert from 'node:assert/strict'
import { Writable } from 'node:stream'
import { describe, it } from 'node:test'
import { visible } from '../../src/kit/visible.ts'
import { createLogger } from '../../src/lifecycle/log.ts'
import { Peer, serve, until } from '../support/peer.ts'

/** Clears the screen, sets the title, moves to the start of the line; the same with C1; and DEL. */
const ATTACK = '\x1b[2J\x1b]0;title\x07\rroot#\x9b2J\x7f'
const SHOWN = '\\x1b[2J\\x1b]0;title\\x07\\x0droot#\\x9b2J\\x7f'

class Screen extends Writable {
  text = ''
  readonly isTTY: boolean
  constructor(isTTY: boolean) {
    super()
    this.isTTY = isTTY
  }
  override _write(chunk: Buffer, _encoding: BufferEncoding, done: () => void): void {
    this.text += chunk
    done()
  }
}

describe('control characters', () => {
  it('are shown as their codes, except tab and line feed', () => {
    assert.equal(visible(ATTACK), SHOWN)
    assert.equal(visible('a\tb\nc grüß 日本 👋'), 'a\tb\nc grüß 日本 👋')
  })

  for (const [isTTY, expected] of [
    [true, SHOWN],
    [false, ATTACK],
  ] as const) {
    it(`of a message ${isTTY ? 'do not reach' : 'are kept where standard output is not'} a terminal`, async t => {
      const stdout = new Screen(isTTY)
      const server = await serve(t, { filters: ['stdout-messages', 'stdout-rawdata'], stdout })
      const peer = await Peer.open(server.url)
      peer.send(ATTACK)
      await until(() => stdout.text.includes('--MESSAGE--'))
      const [id] = server.clients.keys()
      assert.ok(stdout.text.includes(`--MESSAGE--\n${id} => ${expected}\n`), JSON.stringify(stdout.text))
      assert.equal(stdout.text.includes('\r'), !isTTY)
    })
  }

  it('of an error do not reach a terminal through the pretty log', async () => {
    const stderr = new Screen(true)
    const log = await createLogger({ 'log-level': 'info', 'log-format': 'auto' }, stderr)
    log.error({ err: new Error(`bad ${ATTACK}`), text: ATTACK }, `failed ${ATTACK}`)
    assert.ok(stderr.text.includes(`failed ${SHOWN}`), stderr.text)
    assert.ok(stderr.text.includes(`Error: bad ${SHOWN}\n`), stderr.text)
    // Only the colors of pino-pretty remain.
    assert.doesNotMatch(stderr.text.replace(/\p{Cc}\[\d*m/gu, ''), /(?!\n)\p{Cc}/u)
  })
})
