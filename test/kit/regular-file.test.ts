import assert from 'node:assert/strict'
import { execFileSync } from 'node:child_process'
import { truncateSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { readRegular } from '../../src/kit/regular-file.ts'
import { folder, refusal } from '../support/cli.ts'

describe('a file that is read at start', () => {
  it('is text', t => assert.equal(readRegular(join(folder(t, { word: 'grüß' }), 'word')), 'grüß'))

  it('is not a pipe, a folder or a device, and does not wait for them', t => {
    const pipe = join(folder(t), 'pipe')
    execFileSync('mkfifo', [pipe])
    for (const path of [pipe, '/dev/zero'])
      assert.throws(() => readRegular(path), { message: 'it is not a regular file' })
    assert.throws(() => readRegular(folder(t)), { message: 'it is not a regular file' })
  })

  it('has at most 1 MiB', t => {
    const path = join(folder(t, { large: '' }), 'large')
    truncateSync(path, 1_048_577)
    assert.throws(() => readRegular(path), { message: 'it is larger than 1048576 bytes' })
  })

  it('may be a secret, a key or a certificate: refused in one sentence when it is a pipe', async t => {
    const cwd = folder(t)
    execFileSync('mkfifo', [join(cwd, 'pipe')])
    const env = { FWS_REDIS_PASSWORD_FILE: 'pipe' }
    assert.equal(
      await refusal(['--storage', 'redis'], { cwd, env }),
      'FWS_REDIS_PASSWORD_FILE names a file that cannot be read: it is not a regular file',
    )
    assert.equal(
      await refusal(['--key', 'pipe', '--cert', 'cert.pem', '-p', '0'], { cwd }),
      `--key ${join(cwd, 'pipe')} cannot be read: it is not a regular file`,
    )
  })
})
