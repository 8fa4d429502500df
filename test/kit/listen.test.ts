import assert from 'node:assert/strict'
import { spawnSync } from 'node:child_process'
import { createServer as createHttp } from 'node:http'
import { createServer } from 'node:net'
import { describe, it } from 'node:test'
import { listen } from '../../src/kit/listen.ts'

const OPTIONS = { port: '--x-port', host: '--x-host' }

describe('listen', () => {
  it('returns the bound address, and leaves no listener of errors behind', async t => {
    const server = createServer()
    t.after(() => void server.close())
    const { address, port } = await listen(server, { port: 0, host: '127.0.0.1' }, OPTIONS)
    assert.deepEqual([address, port > 0, server.listenerCount('error')], ['127.0.0.1', true, 0])
  })

  for (const host of ['127.0.0.1', '::1', '0.0.0.0']) {
    it(`names the option of a port that is taken on ${host}`, async t => {
      const [first, second] = [createServer(), createHttp()]
      t.after(() => void first.close())
      const { port } = await listen(first, { port: 0, host }, OPTIONS)
      const at = host === '::1' ? '[::1]' : host
      await assert.rejects(listen(second, { port, host }, OPTIONS), {
        code: 'EADDRINUSE',
        message: `cannot listen on ${at}:${port}: the port is taken; choose another with --x-port`,
      })
    })
  }

  for (const [host, code, problem] of [
    ['192.0.2.1', 'EADDRNOTAVAIL', 'this machine does not have the address; choose another with --x-host'],
    ['2001:db8::1', 'EADDRNOTAVAIL', 'this machine does not have the address; choose another with --x-host'],
    ['no-such-host.invalid', /^(?:ENOTFOUND|EAI_AGAIN)$/, 'the name has no address; choose another with --x-host'],
  ] as const) {
    it(`names the option of the host ${host}`, async () => {
      const at = host.includes(':') ? `[${host}]` : host
      await assert.rejects(listen(createServer(), { port: 9, host }, OPTIONS), (error: NodeJS.ErrnoException) => {
        assert.match(error.code!, new RegExp(code))
        assert.equal(error.message, `cannot listen on ${at}:9: ${problem}`)
        return true
      })
    })
  }

  it('names the option of a port without permission', { skip: process.getuid?.() !== 0 && 'needs root' }, () => {
    const script = `process.setuid(65534)
      const { listen } = await import(${JSON.stringify(new URL('../../src/kit/listen.js', import.meta.url).href)})
      const { createServer } = await import('node:net')
      await listen(createServer(), { port: 80, host: '127.0.0.1' }, ${JSON.stringify(OPTIONS)}).catch(error => console.log(error.code, error.message))`
    const { stdout } = spawnSync(process.execPath, ['--input-type=module', '-e', script], { encoding: 'utf8' })
    assert.equal(
      stdout,
      'EACCES cannot listen on 127.0.0.1:80: no permission for this port; choose one from 1024 on with --x-port\n',
    )
  })
})
