import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { createServer } from 'node:net'
import { describe, it } from 'node:test'
import { promisify } from 'node:util'
import { Caller } from '../../bench/wslink-caller.ts'
import { root } from '../support/cli.ts'

/** An answer in one frame, as it comes from a server. */
function answer(): Buffer {
  const chunk = Buffer.alloc(60)
  chunk.writeUInt32LE(48, 8)
  return Buffer.concat([Buffer.from([0x82, chunk.length]), chunk])
}

describe('bench/wslink', () => {
  it('measures every row', async () => {
    const argv = ['--import', 'tsx', 'bench/wslink.ts', '--rounds', '1', '--seconds', '2']
    const { stdout } = await promisify(execFile)(process.execPath, argv, { cwd: root })
    const row = (name: string) => String.raw`${name}\n {2}ours: [1-9]\d* \([1-9]\d*\), \d+ µs of CPU per reply\n`
    const names = ['calls/s, 1', 'calls/s, 32', 'MB/s of 1 MB answers, 1', 'MB/s of 1 MB answers, 8']
    assert.match(stdout, new RegExp(`^${names.map(name => row(`${name} in flight`)).join('')}$`))
  })

  it('finds answers however they are cut, and pings before them', async t => {
    const pings = [Buffer.from([0x89, 0]), Buffer.from([0x89, 2, 0x82, 0x82])]
    let calls = 0
    const masks = new Set<number>()
    const server = createServer(async socket => {
      socket.setNoDelay(true).on('error', () => {})
      let opening = ''
      for await (const data of socket) {
        if (opening !== 'over') {
          opening += data.toString('latin1')
          // The handshake, and behind it the hello.
          if (/\r\n\r\n./s.test(opening)) {
            socket.write('HTTP/1.1 101 Switching Protocols\r\n\r\n')
            socket.write(answer())
            opening = 'over'
          }
          continue
        }
        masks.add(data.readUInt32BE((data[1] & 127) === 126 ? 4 : 2))
        // One call after the other, each answered byte by byte.
        for (const byte of Buffer.concat([pings[calls++ % 2]!, answer()]))
          await new Promise(resolve => socket.write(Buffer.from([byte]), resolve))
      }
    })
    t.after(() => server.close())
    await new Promise<void>(resolve => server.listen(0, '127.0.0.1', resolve))
    const { port } = server.address() as { port: number }
    const caller = await Caller.open(`ws://127.0.0.1:${port}`, 'any')
    t.after(() => caller.destroy())
    const { total } = await caller.rate('demo.add', [1, 2], 1, 0, 3)
    assert.ok(total > 2, `${total} answers`)
    assert.equal(total, calls)
    assert.ok(masks.size > 2, `${masks.size} masks of ${calls} calls`)
  })
})
