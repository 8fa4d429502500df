import assert from 'node:assert/strict'
import { once } from 'node:events'
import { statSync } from 'node:fs'
import { connect } from 'node:net'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { folder } from '../../../support/cli.ts'
import { framed, headerOf } from '../../../support/messaging.ts'
import { asked, bytesOf, filesIn, PART, pushed, startedOn } from '../../../support/messaging-files.ts'
import { until } from '../../../support/peer.ts'
import { recovered, resourcesOf } from '../../../support/resources.ts'

/** Bytes by which a process may grow while it passes on half a gigabyte. */
const GROWTH = 128_000_000

describe('half a gigabyte', () => {
  it('does not increase the memory of the server, in one frame and in parts', async t => {
    const root = folder(t)
    const { server, port, peer } = await startedOn(t, root)
    const chunk = bytesOf(1_000_000)
    const size = 500 * chunk.length
    const pulled = 100 * chunk.length
    const warm = await peer()
    warm.send(pushed('warm', chunk))
    await until(() => filesIn(root).length === 1)
    const before = await resourcesOf(server)
    let peak = 0
    const watch = setInterval(() => {
      resourcesOf(server).then(
        ({ rss }) => {
          peak = Math.max(peak, rss)
        },
        () => {},
      )
    }, 100)
    t.after(() => clearInterval(watch))

    const socket = connect(port, '127.0.0.1')
    await once(socket, 'connect')
    socket.write(
      framed(
        headerOf('', { action: 'filetransfer', filepath: 'large', 'content-type': 'binary', 'content-length': size }),
      ),
    )
    for (let i = 0; i < 500; i++) if (!socket.write(chunk)) await once(socket, 'drain')
    await until(() => filesIn(root).includes('large'), 'the file', 120_000)
    assert.equal(statSync(join(root, 'large')).size, size)
    const grown = peak - before.rss
    t.diagnostic(`${(grown / 1e6).toFixed(1)} MB above ${(before.rss / 1e6).toFixed(1)} MB when pushed`)

    peak = 0
    for (let offset = 0; offset < pulled; offset += PART) {
      const { content } = await asked(warm, { filepath: 'large', offset, length: PART })
      warm.received.length = 0
      assert.equal((content as Buffer).length, PART)
    }
    const hash = await asked(warm, { filepath: 'large' }, 'fws.hash')
    assert.match((hash.value as { sha256: string }).sha256, /^[0-9a-f]{64}$/)
    t.diagnostic(`${((peak - before.rss) / 1e6).toFixed(1)} MB above when pulled`)
    assert.ok(grown > 0 && grown < GROWTH, `${grown} bytes above ${before.rss}`)
    assert.ok(peak - before.rss < GROWTH, `${peak} bytes, ${before.rss} before`)
    socket.destroy()
    warm.socket.destroy()
    await recovered(server, before)
  })
})
