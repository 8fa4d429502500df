import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { readFrom, saveTo } from '../../../client/messaging/node.ts'
import { folder } from '../../support/cli.ts'
import { fileStation, offsetBytes, sha256 } from '../../support/file-station.ts'
import { failing, follow } from '../../support/messaging-client.ts'
import { until } from '../../support/peer.ts'

const PART = 256 * 1024

const connect = (t: TestContext, url: string) => follow(t, url).client

async function hashOf(blob: Blob): Promise<string> {
  return sha256(new Uint8Array(await blob.arrayBuffer()))
}

describe('a file that a messaging client sends', () => {
  for (const size of [0, 1, PART, PART + 1, 5 * 1024 * 1024]) {
    it(`of ${size} bytes arrives in parts of 256 KiB`, async t => {
      const station = await fileStation(t)
      const copter = connect(t, station.url)
      const bytes = offsetBytes(size)
      const progress: number[] = []
      const sent = await copter.sendFile(bytes, 'logs/a.bin', {
        onProgress: event => {
          assert.equal(event.size, size)
          progress.push(event.bytes)
        },
      })
      assert.deepEqual(sent, { bytes: size, sha256: sha256(bytes) })
      assert.deepEqual(station.files.get('logs/a.bin'), bytes)
      const count = Math.max(1, Math.ceil(size / PART))
      const ends = Array.from({ length: count }, (_, i) => Math.min(size, (i + 1) * PART))
      assert.deepEqual(progress, ends)
      assert.deepEqual(
        station.parts,
        ends.map((end, i) => [i * PART, end - i * PART]),
      )
    })
  }

  it('is a Blob, bytes, a string or a local file', async t => {
    const station = await fileStation(t)
    const copter = connect(t, station.url)
    const cwd = folder(t, { 'local.txt': 'локальный' })
    const text = 'путь'
    const sources = {
      blob: new Blob([text]),
      text,
      bytes: Buffer.from(text),
      buffer: new TextEncoder().encode(text).buffer,
    }
    for (const [name, source] of Object.entries(sources)) {
      await copter.sendFile(source, name)
      assert.equal(String(station.files.get(name)), text, name)
    }
    await copter.sendFile(readFrom(join(cwd, 'local.txt')), 'local')
    assert.equal(String(station.files.get('local')), 'локальный')
    await assert.rejects(copter.sendFile(readFrom(join(cwd, 'none')), 'none'), { code: 'ENOENT' })
    await assert.rejects(
      copter.sendFile(readFrom(cwd), 'none'),
      failing('path', `readFrom() takes a file, received "${cwd}"`),
    )
  })

  it('has at most four parts in flight', async t => {
    let pending: (() => void)[] = []
    let max = 0
    const station = await fileStation(t, {
      onMessage: (message, line) => {
        if (message.header.offset === undefined) return
        pending.push(() => line.respond(message, { offset: 0 }))
        max = Math.max(max, pending.length)
        if (pending.length < 4 && message.header.sha256 === undefined) return true
        for (const respond of pending) respond()
        pending = []
        return true
      },
    })
    await connect(t, station.url).sendFile(offsetBytes(18 * PART), 'a')
    assert.equal(max, 4)
    assert.equal(station.parts.length, 18)
  })

  it('is resumed after the connection broke', async t => {
    let count = 0
    const station = await fileStation(t, {
      onMessage: ({ header }, line) => {
        if (header.offset === undefined || ++count !== 6) return
        line.cut()
        return true
      },
    })
    const bytes = offsetBytes(20 * PART + 7)
    const { sha256: hash } = await connect(t, station.url).sendFile(bytes, 'a')
    assert.equal(hash, sha256(bytes))
    assert.deepEqual(station.files.get('a'), bytes)
    const sentParts = station.parts.filter(([, length]) => length === PART).length
    assert.ok(sentParts <= 24, `${sentParts} parts for 20`)
    assert.equal(station.received.filter(({ name }) => name === 'fws.part').length, 2)
  })

  it('is resumed in another process, and no byte is sent twice', async t => {
    const cwd = folder(t)
    const path = join(cwd, 'flight.bin')
    const bytes = offsetBytes(12 * PART)
    writeFileSync(path, bytes)
    const station = await fileStation(t)
    const { key } = await readFrom(path)
    assert.match(key, /^[\w-]{1,64}$/)
    // A killed server may have any number of bytes.
    station.uploads.set(key, bytes.subarray(0, 9 * PART + 5))
    const { sha256: hash } = await connect(t, station.url).sendFile(readFrom(path), 'a')
    assert.equal(hash, sha256(bytes))
    assert.deepEqual(station.files.get('a'), bytes)
    assert.deepEqual(station.parts[0], [9 * PART + 5, PART])
    utimesSync(path, 1, 1)
    assert.notEqual((await readFrom(path)).key, key)
  })

  it('needs an empty part with the hash if the server has all bytes', async t => {
    const station = await fileStation(t)
    const bytes = offsetBytes(2 * PART)
    station.uploads.set('mine', bytes)
    await connect(t, station.url).sendFile(new Blob([bytes]), 'a', { key: 'mine' })
    assert.deepEqual(station.files.get('a'), bytes)
    assert.deepEqual(station.parts, [[2 * PART, 0]])
  })

  it('continues at the offset of the server', async t => {
    let isFirst = true
    const station = await fileStation(t, {
      onMessage: (message, line) => {
        if (message.header.offset !== PART || !isFirst) return
        isFirst = false
        line.respond(message, null, { error: { code: 'offset', message: 'the next part begins at 0' } })
        return true
      },
    })
    const bytes = offsetBytes(3 * PART)
    await connect(t, station.url).sendFile(bytes, 'a')
    assert.deepEqual(station.files.get('a'), bytes)
  })

  it('fails if the server responds `offset` five times without progress', async t => {
    const reason = 'the next part begins at 0'
    const station = await fileStation(t, {
      onMessage: (message, line) => {
        if (message.header.offset !== PART) return
        line.respond(message, null, { error: { code: 'offset', message: reason } })
        return true
      },
    })
    const start = performance.now()
    await assert.rejects(connect(t, station.url).sendFile(offsetBytes(2 * PART), 'a'), failing('offset', reason))
    const asked = station.received.filter(({ name }) => name === 'fws.part').length
    assert.equal(asked, 5)
    assert.ok(performance.now() - start >= 900, 'with pauses between them')
  })

  it('waits while the server is busy, until its timeout', async t => {
    let count = 0
    const station = await fileStation(t, {
      onMessage: (message, line) => {
        if (message.name !== 'fws.part' || ++count === 3) return
        line.respond(message, null, { error: { code: 'busy', message: '64 files are under way' } })
        return true
      },
    })
    const copter = connect(t, station.url)
    await copter.sendFile('abc', 'a')
    assert.equal(count, 3)
    assert.equal(String(station.files.get('a')), 'abc')
    // The timeout may also end the last attempt.
    const codes = new Set<string>()
    for (let i = 0; i < 5 && !codes.has('busy'); i++)
      await assert.rejects(copter.sendFile('abc', 'a', { timeout: 400 }), ({ code, message }) => {
        codes.add(code)
        return code === 'timeout' || message === '64 files are under way'
      })
    assert.ok(codes.has('busy'))
  })

  it('rejects with the error of the server, on abort, after a timeout, and on close', async t => {
    const station = await fileStation(t, {
      onMessage: (message, line) => {
        const { filepath, size } = message.kwargs
        if (filepath === 'off') line.respond(message, null, { error: { code: 'off', message: 'no files' } })
        else if (filepath === 'lies') line.respond(message, { offset: Number(size) + 1 })
        return message.header.filepath === 'silent' || filepath === 'off' || filepath === 'lies'
      },
    })
    const copter = connect(t, station.url)
    await assert.rejects(copter.sendFile('a', 'off'), failing('off', 'no files'))
    await assert.rejects(
      copter.sendFile('a', 'lies'),
      failing('failed', 'expected a number of bytes up to 1, received 2'),
    )
    await assert.rejects(copter.sendFile('a', 'silent', { timeout: 50 }), failing('timeout'))
    const silentParts = () => station.received.filter(({ header }) => header.filepath === 'silent').length
    const before = silentParts()
    const stop = new AbortController()
    const sending = copter.sendFile('a', 'silent', { signal: stop.signal })
    await until(() => silentParts() > before)
    stop.abort('cancelled')
    await assert.rejects(sending, reason => reason === 'cancelled')
    const last = copter.sendFile('a', 'silent')
    copter.close()
    await assert.rejects(last, failing('gone', 'the connection is closed'))
    await assert.rejects(copter.sendFile('a', 'silent'), failing('gone', 'the connection is closed'))
  })

  it('fails if the server accepts no part on several connections', async t => {
    const station = await fileStation(t, {
      onMessage: ({ header }, line) => {
        if (header.offset === undefined) return
        line.cut()
        return true
      },
    })
    await assert.rejects(connect(t, station.url).sendFile('a', 'a', { timeout: 600 }), {
      code: /^(gone|timeout)$/,
    })
  })

  it('is refused as corrupt if the server has other bytes, and starts again the next time', async t => {
    const station = await fileStation(t)
    const bytes = offsetBytes(2 * PART)
    station.uploads.set('mine', Buffer.alloc(PART))
    const copter = connect(t, station.url)
    await assert.rejects(copter.sendFile(bytes, 'a', { key: 'mine' }), failing('corrupt'))
    assert.equal(station.files.has('a'), false)
    await copter.sendFile(bytes, 'a', { key: 'mine' })
    assert.deepEqual(station.files.get('a'), bytes)
  })

  it('is refused as changed if it changes meanwhile', async t => {
    const cwd = folder(t, { a: 'x'.repeat(3 * PART) })
    const station = await fileStation(t, {
      onMessage: ({ header }) => {
        if (header.offset === 0) writeFileSync(join(cwd, 'a'), 'y')
      },
    })
    const source = await readFrom(join(cwd, 'a'))
    const read = {
      ...source,
      read: async (start: number, end: number) => {
        if (start > 0) await until(() => station.parts.length > 0)
        return source.read(start, end)
      },
    }
    const copter = connect(t, station.url)
    await assert.rejects(
      copter.sendFile(read, 'a'),
      failing('changed', `"${join(cwd, 'a')}" has changed during the transfer`),
    )
  })

  it('is sent to clever-show in one frame', async t => {
    const station = await fileStation(t, { isCleverShow: true })
    const copter = connect(t, station.url)
    const bytes = offsetBytes(3 * PART)
    await copter.sendFile(bytes, 'a')
    await until(() => station.files.has('a'))
    assert.deepEqual(station.files.get('a'), bytes)
    assert.deepEqual(station.parts, [[undefined, 3 * PART]])
    await assert.rejects(
      copter.sendFile(new Blob([Buffer.alloc(2 ** 24), 'x']), 'b'),
      failing('too-large', 'this server accepts at most 16777216 bytes, not 16777217'),
    )
  })
})

describe('a file that a messaging client receives', () => {
  for (const size of [0, 1, PART, PART + 1, 5 * 1024 * 1024]) {
    it(`of ${size} bytes is a Blob`, async t => {
      const station = await fileStation(t)
      const bytes = offsetBytes(size)
      station.files.set('a', bytes)
      const progress: number[] = []
      const blob = await connect(t, station.url).getFile('a', { onProgress: event => void progress.push(event.bytes) })
      assert.equal(blob.size, size)
      assert.equal(await hashOf(blob), sha256(bytes))
      assert.equal(progress.at(-1), size)
    })
  }

  it('is resumed after the connection broke', async t => {
    let count = 0
    const station = await fileStation(t, {
      onMessage: ({ name, kwargs }, line) => {
        if (name !== 'filetransfer' || kwargs.offset === undefined || ++count !== 9) return
        line.cut()
        return true
      },
    })
    const bytes = offsetBytes(30 * PART)
    station.files.set('a', bytes)
    assert.equal(await hashOf(await connect(t, station.url).getFile('a')), sha256(bytes))
    const asked = station.received.filter(({ name }) => name === 'filetransfer').length
    assert.ok(asked <= 35, `${asked} parts for 30`)
  })

  it('is saved to a local path, and is hidden until it is complete', async t => {
    const cwd = folder(t)
    const into = join(cwd, 'got.bin')
    const station = await fileStation(t, {
      onMessage: ({ name }) => {
        if (name === 'fws.hash')
          assert.deepEqual(
            readdirSync(cwd).map(found => found.slice(0, 9)),
            ['.got.bin.'],
          )
      },
    })
    const bytes = offsetBytes(9 * PART + 1)
    station.files.set('a', bytes)
    assert.equal(await connect(t, station.url).getFile('a', { into: saveTo(into) }), into)
    assert.deepEqual(readFileSync(into), bytes)
    assert.deepEqual(readdirSync(cwd), ['got.bin'])
  })

  it('is resumed in another process', async t => {
    const cwd = folder(t)
    const into = join(cwd, 'got.bin')
    let isOff = true
    const station = await fileStation(t, {
      onMessage: (message, line) => {
        if (!isOff || message.kwargs.offset !== 6 * PART) return
        line.respond(message, null, { error: { code: 'refused', message: 'not now' } })
        return true
      },
    })
    const bytes = offsetBytes(9 * PART)
    station.files.set('a', bytes)
    await assert.rejects(connect(t, station.url).getFile('a', { into: saveTo(into) }), failing('refused', 'not now'))
    assert.equal(readdirSync(cwd).length, 1)
    isOff = false
    const before = station.received.length
    await connect(t, station.url).getFile('a', { into: saveTo(into) })
    assert.deepEqual(readFileSync(into), bytes)
    const asked = station.received.slice(before).filter(({ name }) => name === 'filetransfer')
    assert.deepEqual(
      asked.map(({ kwargs }) => kwargs.offset),
      [0, 6 * PART, 7 * PART, 8 * PART],
    )
    assert.deepEqual(readdirSync(cwd), ['got.bin'])
  })

  it('starts again once if it changes meanwhile', async t => {
    const into = join(folder(t), 'got.bin')
    let changes = 1
    const station = await fileStation(t, {
      onMessage: ({ kwargs }) => {
        if (kwargs.offset === 6 * PART && changes-- > 0) station.files.set('a', Buffer.alloc(8 * PART + changes, 'x'))
      },
    })
    const copter = connect(t, station.url)
    station.files.set('a', offsetBytes(9 * PART))
    await copter.getFile('a', { into: saveTo(into) })
    assert.deepEqual(readFileSync(into), Buffer.alloc(8 * PART, 'x'))
    changes = 100
    await assert.rejects(copter.getFile('a', { into: saveTo(into) }), failing('changed', '"a" has changed meanwhile'))
    assert.deepEqual(readFileSync(into), Buffer.alloc(8 * PART, 'x'))
  })

  it('is corrupt if its hash differs, and is deleted', async t => {
    const cwd = folder(t)
    const other = sha256(Buffer.from('other'))
    const station = await fileStation(t, {
      onMessage: (message, line) => {
        if (message.name !== 'fws.hash') return
        line.respond(message, { sha256: other })
        return true
      },
    })
    const bytes = offsetBytes(2 * PART)
    station.files.set('a', bytes)
    const copter = connect(t, station.url)
    const message = `the received bytes of "a" have the sha256 ${sha256(bytes)}, not ${other}`
    await assert.rejects(copter.getFile('a'), failing('corrupt', message))
    await assert.rejects(copter.getFile('a', { into: saveTo(join(cwd, 'a')) }), failing('corrupt', message))
    assert.deepEqual(readdirSync(cwd), [])
  })

  it('rejects if it is missing, cannot be written, or does not arrive', async t => {
    const cwd = folder(t)
    mkdirSync(join(cwd, 'taken'))
    const station = await fileStation(t, { onMessage: ({ kwargs }) => kwargs.filepath === 'silent' })
    station.files.set('a', offsetBytes(1))
    const copter = connect(t, station.url)
    await assert.rejects(copter.getFile('none'), failing('missing', 'it is missing'))
    await assert.rejects(copter.getFile('a', { into: saveTo(join(cwd, 'no/where')) }), { code: 'ENOENT' })
    await assert.rejects(copter.getFile('a', { into: saveTo(join(cwd, 'taken')) }), { code: 'EISDIR' })
    await assert.rejects(copter.getFile('silent', { timeout: 30 }), failing('timeout'))
    await assert.rejects(
      copter.getFile('silent', { signal: AbortSignal.abort('cancelled') }),
      reason => reason === 'cancelled',
    )
  })

  it('comes from clever-show in one response', async t => {
    const into = join(folder(t), 'got.bin')
    const station = await fileStation(t, { isCleverShow: true })
    const bytes = offsetBytes(3 * PART)
    station.files.set('a', bytes)
    const copter = connect(t, station.url)
    assert.equal(await hashOf(await copter.getFile('a')), sha256(bytes))
    await copter.getFile('a', { into: saveTo(into) })
    assert.deepEqual(readFileSync(into), bytes)
  })
})
