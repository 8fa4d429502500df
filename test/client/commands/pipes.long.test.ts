import assert from 'node:assert/strict'
import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { existsSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { WebSocket } from 'ws'
import type { Payload } from '../../../src/index.ts'
import { selfSignedFiles } from '../../support/certificates.ts'
import { built, folder, run, type Test } from '../../support/cli.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { serve, until } from '../../support/peer.ts'
import { plainServer } from '../../support/plain-server.ts'

/** Starts the built command; it is killed after the test. */
function start(t: Test, argv: readonly string[]): { child: ChildProcess; out: { stdout: string; stderr: string } } {
  const child = spawn(process.execPath, [...built, ...argv], { env: { PATH: process.env.PATH } })
  const out = { stdout: '', stderr: '' }
  for (const name of ['stdout', 'stderr'] as const)
    child[name].setEncoding('utf8').on('data', text => {
      out[name] += text
    })
  child.stdin.on('error', () => {})
  t.after(() => {
    child.kill('SIGKILL')
  })
  return { child, out }
}

const codeOf = async (child: ChildProcess) => {
  if (child.exitCode === null && child.signalCode === null) await once(child, 'exit')
  return child.exitCode
}

describe('the built commands', () => {
  it('a listener that is killed again and again writes every message at least once, in order', async t => {
    const server = await serve(t, {
      filters: ['streams', 'centrifuge'],
      streamsRules: ['log size=100000 ttl=5m'],
      // A listener may take long to start, and has missed all that is sent meanwhile.
      streamsRecover: 2 ** 28,
    })
    const path = join(folder(t), 'position')
    const argv = ['listen', server.url, '--topic', 'log', '--position-file', path]
    const received: number[] = []
    let sent = 0
    const sending = setInterval(() => {
      for (let i = 0; i < 5; i++) void server.append('log', String(sent++))
    }, 5)
    t.after(() => clearInterval(sending))
    for (let kill = 0; kill < 6; kill++) {
      const { child, out } = start(t, argv)
      const before = received.at(-1) ?? -1
      // Until its first position is saved, a listener begins with messages from now on.
      await until(() => out.stdout.split('\n').length > 300 && existsSync(path), `lines, got ${out.stderr}`)
      if (kill === 5) {
        clearInterval(sending)
        await until(() => out.stdout.endsWith(`\n${sent - 1}\n`), 'the last line')
      }
      child.kill('SIGKILL')
      await once(child, 'close')
      // The first lines may be repeated; a last one without its end was not written.
      const lines = out.stdout.split('\n').slice(0, -1).map(Number)
      const first = lines[0]!
      if (kill > 0) assert.ok(first <= before + 1, `${first} after ${before}`)
      assert.deepEqual(
        lines,
        Array.from(lines, (_, i) => first + i),
      )
      received.push(...lines)
    }
  })

  it('listen ends with 0 when head has its line', async t => {
    const server = await serve(t, {
      filters: [{ open: client => void setInterval(() => client.send('tick'), 5).unref() }],
    })
    const shell = `"${process.execPath}" "${built[0]}" listen ${server.url} | head -n 1; echo \${PIPESTATUS[0]}`
    const child = spawn('bash', ['-c', shell])
    let stdout = ''
    child.stdout.on('data', chunk => {
      stdout += chunk
    })
    await once(child, 'close')
    assert.equal(stdout, 'tick\n0\n')
  })

  it('a line of 100 MB is skipped without being kept in memory', async t => {
    const messages: Payload[] = []
    const server = await serve(t, { filters: [{ message: payload => void messages.push(payload) }] })
    const { child, out } = start(t, ['send', server.url])
    const piece = 'x'.repeat(1_000_000)
    let most = 0
    for (let i = 0; i < 100; i++) {
      if (!child.stdin!.write(piece)) await once(child.stdin!, 'drain')
      const [, kib] = /VmRSS:\s+(\d+)/.exec(readFileSync(`/proc/${child.pid}/status`, 'utf8')) ?? []
      most = Math.max(most, Number(kib))
    }
    child.stdin!.end('\nshort\n')
    assert.equal(await codeOf(child), 1)
    await until(() => messages.length === 1, 'the short line')
    assert.deepEqual(messages, ['short'])
    assert.equal(
      out.stderr,
      'fws-server: skipped a message: longer than --max-payload\nfws-server: messages that were skipped: 1\n',
    )
    assert.ok(most < 200_000, `${most} KiB`)
  })

  it('100,000 lines arrive in order; a slow server makes the writer wait', async t => {
    let next = 0
    let isInOrder = true
    const filter = {
      message: async (payload: Payload) => {
        isInOrder &&= payload === String(next++)
        if (next % 1000 === 0) await new Promise(resolve => setTimeout(resolve, 1))
      },
    }
    const server = await serve(t, { filters: [filter] })
    const { child, out } = start(t, ['send', server.url])
    for (let i = 0; i < 100_000; i += 1000) {
      const lines = Array.from({ length: 1000 }, (_, j) => `${i + j}\n`).join('')
      if (!child.stdin!.write(lines)) await once(child.stdin!, 'drain')
    }
    child.stdin!.end()
    assert.deepEqual([await codeOf(child), out.stderr], [0, ''])
    assert.deepEqual([next, isInOrder], [100_000, true])
  })

  it('send loses nothing, and keeps the order, when its connection breaks under load', async t => {
    let socket: WebSocket | undefined
    const { url, received } = await plainServer(t, opened => {
      socket = opened
    })
    const breaking = setInterval(() => socket?.terminate(), 30)
    t.after(() => clearInterval(breaking))
    const { child, out } = start(t, ['send', url])
    const count = 50_000
    for (let i = 0; i < count; i += 100) {
      child.stdin!.write(Array.from({ length: 100 }, (_, j) => `${i + j}\n`).join(''))
      if (i % 12_500 === 0) await until(() => received.length > i / 12_500, 'a connection')
    }
    clearInterval(breaking)
    child.stdin!.end()
    assert.equal(await codeOf(child), 0, out.stderr)
    let next = 0
    for (const texts of received) {
      // What was not acknowledged is repeated.
      const first = Number(texts[0] ?? next)
      assert.ok(first <= next, `${first} after ${next}`)
      assert.deepEqual(
        texts.map(Number),
        Array.from(texts, (_, i) => first + i),
      )
      next = Math.max(next, first + texts.length)
    }
    assert.equal(next, count)
  })

  it('send notices a server that vanishes without closing, and sends again', async t => {
    const { url, received } = await plainServer(t)
    const proxy = await startFaultProxy({ host: '127.0.0.1', port: Number(new URL(url).port) })
    t.after(() => proxy.stop())
    const { child, out } = start(t, ['send', `ws://127.0.0.1:${proxy.port}`])
    child.stdin!.write('a\n')
    await until(() => received[0]?.length === 1, 'a')
    proxy.halfOpen()
    child.stdin!.end('b\n')
    await until(() => out.stderr.includes('is lost'), 'the end of the connection', 90_000)
    proxy.resume()
    assert.equal(await codeOf(child), 0, out.stderr)
    assert.equal(received.at(-1)!.at(-1), 'b')
  })

  it('listen ends with 1 if a server accepts three connections and does not answer', async t => {
    const { url, received } = await plainServer(t)
    const { code, stderr } = await run(['listen', url, '--topic', 'log'])
    assert.deepEqual([code, received.length], [1, 3])
    assert.match(stderr, /is lost: no answer to connect; next attempt/)
    assert.match(stderr, /has not answered on 3 connections; --topic needs filter centrifuge there\n$/)
  })

  it('checks certificates also where the environment turns the check of Node off', async t => {
    const { files } = await selfSignedFiles(t)
    const server = await serve(t, { filters: [], ...files })
    const url = `wss://localhost:${new URL(server.url).port}`
    const { code, stderr } = await run(['listen', url], { env: { NODE_TLS_REJECT_UNAUTHORIZED: '0' } })
    assert.equal(code, 1)
    assert.match(stderr, /cannot connect to .*: self-signed certificate\n/)
  })

  for (const command of ['send', 'listen'])
    it(`${command} ends on SIGTERM while no server is there`, async t => {
      const { child, out } = start(t, [command, 'ws://127.0.0.1:1'])
      await until(() => out.stderr.includes('next attempt'), 'an attempt')
      child.kill('SIGTERM')
      assert.equal(await codeOf(child), 0)
    })
})
