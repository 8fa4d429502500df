import assert from 'node:assert/strict'
import { mkdirSync, readdirSync, readFileSync, utimesSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import {
  connectMessaging,
  MessagingError,
  type MessagingOptions,
  readFrom,
  saveTo,
} from '../../../client/messaging/node.ts'
import { folder } from '../../support/cli.ts'
import { fileStation, sha256 } from '../../support/file-station.ts'
import { until } from '../../support/peer.ts'

const PART = 256 * 1024

function connect(t: TestContext, url: string, options: MessagingOptions = {}) {
  const client = connectMessaging(url, { id: 'copter1', firstDelay: 10, maxDelay: 20, ...options })
  t.after(() => client.close())
  return client
}

/** Bytes that say where they are. */
function bytesOf(size: number): Buffer<ArrayBuffer> {
  const bytes = Buffer.alloc(size)
  for (let at = 0; at + 4 <= size; at += 4) bytes.writeUInt32LE(at, at)
  return bytes
}

const failing = (code: string, message?: string) => (error: Error) => {
  assert.ok(error instanceof MessagingError, String(error))
  assert.equal(error.code, code)
  if (message !== undefined) assert.equal(error.message, message)
  return true
}

async function textOf(blob: Blob): Promise<string> {
  return sha256(new Uint8Array(await blob.arrayBuffer()))
}

describe('a file that a messaging client sends', () => {
  for (const size of [0, 1, PART, PART + 1, 5 * 1024 * 1024]) {
    it(`of ${size} bytes arrives whole, in parts of 256 KiB`, async t => {
      const station = await fileStation(t)
      const copter = connect(t, station.url)
      const bytes = bytesOf(size)
      const progress: number[] = []
      const sent = await copter.sendFile(bytes, 'logs/a.bin', {
        onProgress: told => {
          assert.equal(told.size, size)
          progress.push(told.bytes)
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

  it('is a Blob, bytes, a text or a file of this machine', async t => {
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
      failing('path', `what is sent is a file, received "${cwd}"`),
    )
  })

  it('has four parts under way, no more', async t => {
    let waiting: (() => void)[] = []
    let most = 0
    const station = await fileStation(t, {
      hear: (said, line) => {
        if (said.header.offset === undefined) return
        waiting.push(() => line.answer(said, { offset: 0 }))
        most = Math.max(most, waiting.length)
        if (waiting.length < 4 && said.header.sha256 === undefined) return true
        for (const answer of waiting) answer()
        waiting = []
        return true
      },
    })
    await connect(t, station.url).sendFile(bytesOf(18 * PART), 'a')
    assert.equal(most, 4)
    assert.equal(station.parts.length, 18)
  })

  it('goes on where it was when the connection breaks', async t => {
    let count = 0
    const station = await fileStation(t, {
      hear: ({ header }, line) => {
        if (header.offset === undefined || ++count !== 6) return
        line.cut()
        return true
      },
    })
    const bytes = bytesOf(20 * PART + 7)
    const { sha256: hash } = await connect(t, station.url).sendFile(bytes, 'a')
    assert.equal(hash, sha256(bytes))
    assert.deepEqual(station.files.get('a'), bytes)
    const taken = station.parts.filter(([, length]) => length === PART).length
    assert.ok(taken <= 24, `${taken} parts for 20`)
    assert.equal(station.heard.filter(({ name }) => name === 'fws.part').length, 2)
  })

  it('goes on in another process where the one before was, and sends nothing twice', async t => {
    const cwd = folder(t)
    const path = join(cwd, 'flight.bin')
    const bytes = bytesOf(12 * PART)
    writeFileSync(path, bytes)
    const station = await fileStation(t)
    const { key } = await readFrom(path)
    assert.match(key, /^[\w-]{1,64}$/)
    // A server that was killed may have any number of bytes.
    station.begun.set(key, bytes.subarray(0, 9 * PART + 5))
    const { sha256: hash } = await connect(t, station.url).sendFile(readFrom(path), 'a')
    assert.equal(hash, sha256(bytes))
    assert.deepEqual(station.files.get('a'), bytes)
    assert.deepEqual(station.parts[0], [9 * PART + 5, PART])
    utimesSync(path, 1, 1)
    assert.notEqual((await readFrom(path)).key, key)
  })

  it('of which all is there but the name needs an empty part with the hash', async t => {
    const station = await fileStation(t)
    const bytes = bytesOf(2 * PART)
    station.begun.set('mine', bytes)
    await connect(t, station.url).sendFile(new Blob([bytes]), 'a', { key: 'mine' })
    assert.deepEqual(station.files.get('a'), bytes)
    assert.deepEqual(station.parts, [[2 * PART, 0]])
  })

  it('goes on where the server says that it is', async t => {
    let isFirst = true
    const station = await fileStation(t, {
      hear: (said, line) => {
        if (said.header.offset !== PART || !isFirst) return
        isFirst = false
        line.answer(said, null, { error: { code: 'offset', message: 'the next part begins at 0' } })
        return true
      },
    })
    const bytes = bytesOf(3 * PART)
    await connect(t, station.url).sendFile(bytes, 'a')
    assert.deepEqual(station.files.get('a'), bytes)
  })

  it('is given up when the server wants another part again and again', async t => {
    const message = 'the next part begins at 0'
    const station = await fileStation(t, {
      hear: (said, line) => {
        if (said.header.offset !== PART) return
        line.answer(said, null, { error: { code: 'offset', message } })
        return true
      },
    })
    const begun = performance.now()
    await assert.rejects(connect(t, station.url).sendFile(bytesOf(2 * PART), 'a'), failing('offset', message))
    const asked = station.heard.filter(({ name }) => name === 'fws.part').length
    assert.equal(asked, 5)
    assert.ok(performance.now() - begun >= 900, 'with pauses between them')
  })

  it('waits while the server is busy, but not for ever', async t => {
    let count = 0
    const station = await fileStation(t, {
      hear: (said, line) => {
        if (said.name !== 'fws.part' || ++count === 3) return
        line.answer(said, null, { error: { code: 'busy', message: '64 files are under way' } })
        return true
      },
    })
    const copter = connect(t, station.url)
    await copter.sendFile('abc', 'a')
    assert.equal(count, 3)
    assert.equal(String(station.files.get('a')), 'abc')
    await assert.rejects(copter.sendFile('abc', 'a', { timeout: 400 }), failing('busy', '64 files are under way'))
  })

  it('rejects with what the server says, when it is aborted, when nothing is answered, and at the end', async t => {
    const station = await fileStation(t, {
      hear: (said, line) => {
        const { filepath, size } = said.kwargs
        if (filepath === 'off') line.answer(said, null, { error: { code: 'off', message: 'no files' } })
        else if (filepath === 'lies') line.answer(said, { offset: Number(size) + 1 })
        return said.header.filepath === 'silent' || filepath === 'off' || filepath === 'lies'
      },
    })
    const copter = connect(t, station.url)
    await assert.rejects(copter.sendFile('a', 'off'), failing('off', 'no files'))
    await assert.rejects(
      copter.sendFile('a', 'lies'),
      failing('failed', 'there is a number of bytes up to 1, received 2'),
    )
    await assert.rejects(copter.sendFile('a', 'silent', { timeout: 50 }), failing('timeout'))
    const stop = new AbortController()
    const sending = copter.sendFile('a', 'silent', { signal: stop.signal })
    await until(() => station.heard.filter(({ header }) => header.filepath === 'silent').length === 2)
    stop.abort('enough')
    await assert.rejects(sending, reason => reason === 'enough')
    const last = copter.sendFile('a', 'silent')
    copter.close()
    await assert.rejects(last, failing('gone', 'the connection is gone'))
    await assert.rejects(copter.sendFile('a', 'silent'), failing('gone', 'the connection is gone'))
  })

  it('ends when a server that comes back again and again takes nothing', async t => {
    const station = await fileStation(t, {
      hear: ({ header }, line) => {
        if (header.offset === undefined) return
        line.cut()
        return true
      },
    })
    await assert.rejects(connect(t, station.url).sendFile('a', 'a', { timeout: 600 }), {
      code: /^(gone|timeout)$/,
    })
  })

  it('is refused as corrupt when the server has other bytes, and begins anew the next time', async t => {
    const station = await fileStation(t)
    const bytes = bytesOf(2 * PART)
    station.begun.set('mine', Buffer.alloc(PART))
    const copter = connect(t, station.url)
    await assert.rejects(copter.sendFile(bytes, 'a', { key: 'mine' }), failing('corrupt'))
    assert.equal(station.files.has('a'), false)
    await copter.sendFile(bytes, 'a', { key: 'mine' })
    assert.deepEqual(station.files.get('a'), bytes)
  })

  it('is refused as changed when it changes meanwhile', async t => {
    const cwd = folder(t, { a: 'x'.repeat(3 * PART) })
    const station = await fileStation(t, {
      hear: ({ header }) => {
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
      failing('changed', `"${join(cwd, 'a')}" has changed while it was sent`),
    )
  })

  it('goes to the original in one frame', async t => {
    const station = await fileStation(t, { isOriginal: true })
    const copter = connect(t, station.url)
    const bytes = bytesOf(3 * PART)
    await copter.sendFile(bytes, 'a')
    await until(() => station.files.has('a'))
    assert.deepEqual(station.files.get('a'), bytes)
    assert.deepEqual(station.parts, [[undefined, 3 * PART]])
    await assert.rejects(
      copter.sendFile(new Blob([Buffer.alloc(2 ** 24), 'x']), 'b'),
      failing('too-large', 'this server takes files of 16777216 bytes, not of 16777217'),
    )
  })
})

describe('a file that a messaging client gets', () => {
  for (const size of [0, 1, PART, PART + 1, 5 * 1024 * 1024]) {
    it(`of ${size} bytes is a Blob`, async t => {
      const station = await fileStation(t)
      const bytes = bytesOf(size)
      station.files.set('a', bytes)
      const progress: number[] = []
      const blob = await connect(t, station.url).getFile('a', { onProgress: told => void progress.push(told.bytes) })
      assert.equal(blob.size, size)
      assert.equal(await textOf(blob), sha256(bytes))
      assert.equal(progress.at(-1), size)
    })
  }

  it('goes on where it was when the connection breaks', async t => {
    let count = 0
    const station = await fileStation(t, {
      hear: ({ name, kwargs }, line) => {
        if (name !== 'filetransfer' || kwargs.offset === undefined || ++count !== 9) return
        line.cut()
        return true
      },
    })
    const bytes = bytesOf(30 * PART)
    station.files.set('a', bytes)
    assert.equal(await textOf(await connect(t, station.url).getFile('a')), sha256(bytes))
    const asked = station.heard.filter(({ name }) => name === 'filetransfer').length
    assert.ok(asked <= 35, `${asked} parts for 30`)
  })

  it('goes to a place on this machine, and is hidden there until it is whole', async t => {
    const cwd = folder(t)
    const into = join(cwd, 'got.bin')
    const station = await fileStation(t, {
      hear: ({ name }) => {
        if (name === 'fws.hash')
          assert.deepEqual(
            readdirSync(cwd).map(found => found.slice(0, 9)),
            ['.got.bin.'],
          )
      },
    })
    const bytes = bytesOf(9 * PART + 1)
    station.files.set('a', bytes)
    assert.equal(await connect(t, station.url).getFile('a', { into: saveTo(into) }), into)
    assert.deepEqual(readFileSync(into), bytes)
    assert.deepEqual(readdirSync(cwd), ['got.bin'])
  })

  it('goes on in another process where the one before was', async t => {
    const cwd = folder(t)
    const into = join(cwd, 'got.bin')
    let isOff = true
    const station = await fileStation(t, {
      hear: (said, line) => {
        if (!isOff || said.kwargs.offset !== 6 * PART) return
        line.answer(said, null, { error: { code: 'refused', message: 'not now' } })
        return true
      },
    })
    const bytes = bytesOf(9 * PART)
    station.files.set('a', bytes)
    await assert.rejects(connect(t, station.url).getFile('a', { into: saveTo(into) }), failing('refused', 'not now'))
    assert.equal(readdirSync(cwd).length, 1)
    isOff = false
    const before = station.heard.length
    await connect(t, station.url).getFile('a', { into: saveTo(into) })
    assert.deepEqual(readFileSync(into), bytes)
    const asked = station.heard.slice(before).filter(({ name }) => name === 'filetransfer')
    assert.deepEqual(
      asked.map(({ kwargs }) => kwargs.offset),
      [0, 6 * PART, 7 * PART, 8 * PART],
    )
    assert.deepEqual(readdirSync(cwd), ['got.bin'])
  })

  it('that changes in the middle begins anew, once', async t => {
    const into = join(folder(t), 'got.bin')
    let changes = 1
    const station = await fileStation(t, {
      hear: ({ kwargs }) => {
        if (kwargs.offset === 6 * PART && changes-- > 0) station.files.set('a', Buffer.alloc(8 * PART + changes, 'x'))
      },
    })
    const copter = connect(t, station.url)
    station.files.set('a', bytesOf(9 * PART))
    await copter.getFile('a', { into: saveTo(into) })
    assert.deepEqual(readFileSync(into), Buffer.alloc(8 * PART, 'x'))
    changes = 100
    await assert.rejects(copter.getFile('a', { into: saveTo(into) }), failing('changed', '"a" has changed meanwhile'))
    assert.deepEqual(readFileSync(into), Buffer.alloc(8 * PART, 'x'))
  })

  it('that has another hash is corrupt, and leaves nothing', async t => {
    const cwd = folder(t)
    const station = await fileStation(t, {
      hear: (said, line) => {
        if (said.name !== 'fws.hash') return
        line.answer(said, { sha256: sha256(Buffer.from('other')) })
        return true
      },
    })
    station.files.set('a', bytesOf(2 * PART))
    const copter = connect(t, station.url)
    const message = '"a" has another sha256 than what has come of it'
    await assert.rejects(copter.getFile('a'), failing('corrupt', message))
    await assert.rejects(copter.getFile('a', { into: saveTo(join(cwd, 'a')) }), failing('corrupt', message))
    assert.deepEqual(readdirSync(cwd), [])
  })

  it('is missing, cannot be written, or never comes', async t => {
    const cwd = folder(t)
    mkdirSync(join(cwd, 'taken'))
    const station = await fileStation(t, { hear: ({ kwargs }) => kwargs.filepath === 'silent' })
    station.files.set('a', bytesOf(1))
    const copter = connect(t, station.url)
    await assert.rejects(copter.getFile('none'), failing('missing', 'it is missing'))
    await assert.rejects(copter.getFile('a', { into: saveTo(join(cwd, 'no/where')) }), { code: 'ENOENT' })
    await assert.rejects(copter.getFile('a', { into: saveTo(join(cwd, 'taken')) }), { code: 'EISDIR' })
    await assert.rejects(copter.getFile('silent', { timeout: 30 }), failing('timeout'))
    await assert.rejects(
      copter.getFile('silent', { signal: AbortSignal.abort('enough') }),
      reason => reason === 'enough',
    )
  })

  it('comes from the original in one answer', async t => {
    const into = join(folder(t), 'got.bin')
    const station = await fileStation(t, { isOriginal: true })
    const bytes = bytesOf(3 * PART)
    station.files.set('a', bytes)
    const copter = connect(t, station.url)
    assert.equal(await textOf(await copter.getFile('a')), sha256(bytes))
    await copter.getFile('a', { into: saveTo(into) })
    assert.deepEqual(readFileSync(into), bytes)
  })
})
