import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { statSync, utimesSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pino } from 'pino'
import { folder, root } from '../../support/cli.ts'
import { smallDisk } from '../../support/small-disk.ts'
import { filesOf, png, uploadsOf } from '../../support/uploads.ts'

describe('a process that is killed during an upload', () => {
  it('leaves a hidden part, which is deleted after an hour', async t => {
    const path = folder(t)
    const script = join(root, 'test/support/half-upload.ts')
    const child = spawn(process.execPath, ['--import', import.meta.resolve('tsx'), script, path], {
      stdio: ['ignore', 'pipe', 'inherit'],
    })
    t.after(() => child.kill('SIGKILL'))
    const [received] = await once(child.stdout, 'data')
    assert.equal(String(received), '500000\n')
    child.kill('SIGKILL')
    await once(child, 'exit')

    const [part, ...others] = filesOf({ folder: path })
    assert.match(part!, /^\.part-[0-9a-f-]{36}$/)
    assert.deepEqual(others, [])
    assert.equal(statSync(join(path, part!)).size, 500_000)

    await uploadsOf(t, { folder: path })
    assert.deepEqual(filesOf({ folder: path }), [part])
    const old = Date.now() / 1000 - 3601
    utimesSync(join(path, part!), old, old)
    await uploadsOf(t, { folder: path })
    assert.deepEqual(filesOf({ folder: path }), [])
  })
})

describe('a full disk', () => {
  it('refuses the upload, is logged, and has its free space back', async t => {
    const path = smallDisk(t, 262_144)
    if (path === undefined) return t.skip('a tmpfs cannot be mounted')
    const logged: string[] = []
    const log = pino({ base: null }, { write: (line: string) => void logged.push(line) })
    const uploads = await uploadsOf(t, { folder: path, log })
    const FULL = { code: 'quota', message: 'the disk is full' }
    const upload = await uploads.begin({}, { name: 'a.png', size: 900_000 })
    await upload.write(png(200_000))
    await assert.rejects(upload.write(Buffer.alloc(700_000)), FULL)
    await assert.rejects(upload.done, FULL)
    await assert.rejects(uploads.save({ name: 'a.png' }, png(900_000)), FULL)
    assert.deepEqual(filesOf(uploads), [])
    const { name } = await uploads.save({ name: 'a.png' }, png(200_000))
    assert.deepEqual(filesOf(uploads), [name])
    const [{ level, msg, err }] = logged.map(line => JSON.parse(line))
    assert.deepEqual(
      { level, msg, code: err.code },
      { level: 50, msg: 'file of a client cannot be saved', code: 'ENOSPC' },
    )
    assert.equal(logged.length, 2)
  })
})

describe('100 MB in chunks', () => {
  it('take less than 64 MB of memory', async t => {
    const uploads = await uploadsOf(t, { maxBytes: 1e8, quota: 1e9 })
    const chunks = 400
    const chunk = 250_000
    await uploads.save({ name: 'warm.png' }, png(1000))
    const base = process.memoryUsage.rss()
    let peak = 0
    const upload = await uploads.begin({}, { name: 'a.png', size: chunks * chunk })
    for (let i = 0; i < chunks; i++) {
      // A new buffer for each chunk, as from a socket.
      upload.write(i === 0 ? png(chunk) : Buffer.alloc(chunk, i))
      peak = Math.max(peak, process.memoryUsage.rss())
      if (upload.shouldPause) await upload.drained()
    }
    const { size } = await upload.done
    assert.equal(size, 100_000_000)
    const grown = peak - base
    t.diagnostic(`${(grown / 1e6).toFixed(1)} MB above base`)
    assert.ok(grown < 64_000_000, `${grown} bytes above base`)
  })
})
