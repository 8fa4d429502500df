import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { launch } from './cli.ts'

describe('a server that tests launch', () => {
  it('is killed without a close to its clients, also paused and twice', async t => {
    const server = await launch(t, ['-p', '0', '-f', 'echo'])
    const ann = await server.connect()
    ann.send('hello')
    assert.deepEqual(await ann.get(1), ['hello'])
    server.pause()
    const logged = server.stderr
    const { code, signal, stderr } = await server.kill()
    assert.deepEqual([code, signal, stderr], [null, 'SIGKILL', logged])
    assert.deepEqual(await ann.end(), { code: 1006, reason: '' })
    assert.throws(() => process.kill(server.pid, 0), { code: 'ESRCH' })
    assert.equal((await server.kill()).signal, 'SIGKILL')
  })

  it('answers nothing while it is paused, and everything later', async t => {
    const [server, other] = await Promise.all([0, 1].map(() => launch(t, ['-p', '0', '-f', 'echo'])))
    const [ann, bob] = await Promise.all([server!.connect(), other!.connect()])
    server!.pause()
    ann.send('late')
    bob.send('now')
    await bob.get(1)
    assert.deepEqual(ann.received, [])
    server!.resume()
    assert.deepEqual(await ann.get(1), ['late'])
  })
})
