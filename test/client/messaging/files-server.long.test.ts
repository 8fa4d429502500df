import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { existsSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { connect, createServer, type Socket } from 'node:net'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { readFrom, saveTo } from '../../../client/messaging/node.ts'
import { browser, skipWithoutBrowser, watched } from '../../support/browser.ts'
import { folder, launch, root as repository } from '../../support/cli.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { offsetBytes, sha256 } from '../../support/file-station.ts'
import { building } from '../../support/messaging.ts'
import { failing, follow } from '../../support/messaging-client.ts'
import { serve, until } from '../../support/peer.ts'
import { freePort } from '../../support/port.ts'

const PART = 256 * 1024
const LARGE = 20 * 1024 * 1024

/** Complete files. */
function filesIn(root: string): string[] {
  return readdirSync(root).filter(name => name !== '.fws-parts')
}

/** A server in a separate process that can be started again. */
async function launched(t: TestContext) {
  const [root, port, ws] = [folder(t), await freePort(), await freePort()]
  const argv = ['-f', 'messaging', '-p', `${ws}`, '--messaging-port', `${port}`, '--messaging-root', root]
  const start = () => launch(t, argv)
  return { root, ports: { tcp: port, ws }, start, server: await start() }
}

/** A proxy that flips one bit on the first connection. */
async function flipping(t: TestContext, to: number, at: number, direction: 'up' | 'down'): Promise<number> {
  const port = await freePort()
  let hasFlipped = false
  const pass = (from: Socket, into: Socket, isBad: boolean) => {
    let count = 0
    from.on('error', () => into.destroy())
    from.on('close', () => into.destroy())
    from.on('data', chunk => {
      if (isBad && !hasFlipped && count + chunk.length > at) {
        chunk[at - count]! ^= 1
        hasFlipped = true
      }
      count += chunk.length
      into.write(chunk)
    })
  }
  const server = createServer(socket => {
    const upstream = connect(to, '127.0.0.1')
    t.after(() => void upstream.destroy())
    pass(socket, upstream, direction === 'up')
    pass(upstream, socket, direction === 'down')
  })
  await new Promise<void>(resolve => server.listen(port, '127.0.0.1', resolve))
  t.after(() => void server.close())
  return port
}

for (const over of ['tcp', 'ws'] as const) {
  describe(`files of a messaging client and a server over ${over}`, () => {
    it('arrive in both directions, in any size', async t => {
      const { root, ports } = await launched(t)
      const { client } = follow(t, `${over}://127.0.0.1:${ports[over]}`)
      const into = folder(t)
      for (const size of [0, 1, PART, PART + 1, LARGE]) {
        const bytes = offsetBytes(size)
        const sent = await client.sendFile(bytes, 'a.bin')
        assert.deepEqual(sent, { bytes: size, sha256: sha256(bytes) })
        assert.ok(readFileSync(join(root, 'a.bin')).equals(bytes), `${size} bytes sent`)
        const blob = await client.getFile('a.bin')
        assert.ok(Buffer.from(await blob.arrayBuffer()).equals(bytes), `${size} bytes as a blob`)
        await client.getFile('a.bin', { into: saveTo(join(into, 'b.bin')) })
        assert.ok(readFileSync(join(into, 'b.bin')).equals(bytes), `${size} bytes saved`)
      }
      assert.deepEqual(readdirSync(into), ['b.bin'])
    })

    it('resume after the connection broke', async t => {
      const { root, ports } = await launched(t)
      const proxy = await startFaultProxy({ host: '127.0.0.1', port: ports[over] })
      t.after(() => proxy.stop())
      const { client } = follow(t, `${over}://127.0.0.1:${proxy.port}`)
      const bytes = offsetBytes(LARGE)
      /** Breaks the connection at each quarter. */
      const cutting = () => {
        const marks = [LARGE / 4, LARGE / 2, (LARGE * 3) / 4]
        let last = 0
        return ({ bytes }: { bytes: number }) => {
          assert.ok(bytes >= last, `${bytes} bytes after ${last}: it starts again`)
          last = bytes
          if (bytes < (marks[0] ?? Number.POSITIVE_INFINITY)) return
          marks.shift()
          proxy.cut()
        }
      }
      await client.sendFile(bytes, 'a.bin', { onProgress: cutting() })
      assert.ok(readFileSync(join(root, 'a.bin')).equals(bytes))
      const blob = await client.getFile('a.bin', { onProgress: cutting() })
      assert.ok(Buffer.from(await blob.arrayBuffer()).equals(bytes))
      assert.equal(proxy.accepted, 7)
    })

    it('resume after the server was killed; an incomplete file is not visible', async t => {
      const { root, ports, server, start } = await launched(t)
      const { client } = follow(t, `${over}://127.0.0.1:${ports[over]}`)
      const bytes = offsetBytes(LARGE)
      let killed: Promise<unknown> | undefined
      let before = 0
      const sending = client.sendFile(bytes, 'a.bin', {
        onProgress: ({ bytes }) => {
          if (killed !== undefined && before > 0) assert.ok(bytes >= before, `${bytes} bytes after ${before}`)
          if (killed !== undefined || bytes < LARGE / 2) return
          before = bytes
          killed = server.kill()
        },
      })
      await until(() => killed !== undefined)
      await killed
      assert.equal(existsSync(join(root, 'a.bin')), false)
      const again = await start()
      await sending
      assert.ok(readFileSync(join(root, 'a.bin')).equals(bytes))
      await again.stop()
      const last = await start()
      let isKilled = false
      const into = join(folder(t), 'b.bin')
      const getting = client.getFile('a.bin', {
        into: saveTo(into),
        onProgress: ({ bytes }) => {
          if (isKilled || bytes < LARGE / 2) return
          isKilled = true
          killed = last.kill()
        },
      })
      await until(() => isKilled)
      await killed
      assert.equal(existsSync(into), false)
      await start()
      assert.equal(await getting, into)
      assert.ok(readFileSync(into).equals(bytes))
    })

    it('resume in a new process after the client was killed', async t => {
      const { root, ports } = await launched(t)
      const proxy = await startFaultProxy({ host: '127.0.0.1', port: ports[over] })
      t.after(() => proxy.stop())
      proxy.delay(5)
      const url = `${over}://127.0.0.1:${proxy.port}`
      const cwd = folder(t)
      const [local, into, bytes] = [join(cwd, 'local.bin'), join(cwd, 'got.bin'), offsetBytes(LARGE)]
      writeFileSync(local, bytes)

      async function killedAt(count: number, work: string): Promise<void> {
        const library = JSON.stringify(join(repository, 'dist/client/messaging/node.js'))
        const script = `import { connectMessaging, readFrom, saveTo } from ${library}
          const client = connectMessaging('${url}', { id: 'copter1' })
          const onProgress = ({ bytes }) => console.log(bytes)
          await ${work}`
        const child = spawn(process.execPath, ['--input-type=module', '-e', script], {
          stdio: ['ignore', 'pipe', 'inherit'],
        })
        t.after(() => void child.kill('SIGKILL'))
        child.stdout.setEncoding('utf8').on('data', text => {
          if (Number(text.trim().split('\n').at(-1)) >= count) child.kill('SIGKILL')
        })
        await until(() => child.signalCode === 'SIGKILL' || child.exitCode !== null)
        assert.equal(child.signalCode, 'SIGKILL')
      }

      const half = LARGE / 2
      await killedAt(half, `client.sendFile(readFrom(${JSON.stringify(local)}), 'a.bin', { onProgress })`)
      assert.equal(existsSync(join(root, 'a.bin')), false)
      const { client } = follow(t, url)
      const progress: number[] = []
      const onProgress = ({ bytes }: { bytes: number }) => void progress.push(bytes)
      await client.sendFile(readFrom(local), 'a.bin', { onProgress })
      assert.ok(progress[0]! > half, `resumes at ${progress[0]}`)
      assert.ok(readFileSync(join(root, 'a.bin')).equals(bytes))

      await killedAt(half, `client.getFile('a.bin', { onProgress, into: saveTo(${JSON.stringify(into)}) })`)
      assert.equal(existsSync(into), false)
      progress.length = 0
      await client.getFile('a.bin', { onProgress, into: saveTo(into) })
      assert.ok(progress[0]! > half, `resumes at ${progress[0]}`)
      assert.ok(readFileSync(into).equals(bytes))
      assert.deepEqual(readdirSync(cwd).sort(), ['got.bin', 'local.bin'])
    })

    it('with damaged bytes are refused as corrupt', async t => {
      const { root, ports } = await launched(t)
      const bytes = offsetBytes(4 * PART)
      const up = await flipping(t, ports[over], 100_000, 'up')
      const { client } = follow(t, `${over}://127.0.0.1:${up}`)
      await assert.rejects(client.sendFile(bytes, 'a.bin', { key: 'k' }), { name: 'MessagingError', code: 'corrupt' })
      assert.deepEqual(filesIn(root), [])
      await client.sendFile(bytes, 'a.bin', { key: 'k' })
      assert.ok(readFileSync(join(root, 'a.bin')).equals(bytes))
      const down = await flipping(t, ports[over], 100_000, 'down')
      const other = follow(t, `${over}://127.0.0.1:${down}`).client
      const cwd = folder(t)
      const getting = other.getFile('a.bin', { into: saveTo(join(cwd, 'a.bin')) })
      await assert.rejects(getting, failing('corrupt'))
      assert.deepEqual(readdirSync(cwd), [])
      await other.getFile('a.bin', { into: saveTo(join(cwd, 'a.bin')) })
      assert.ok(readFileSync(join(cwd, 'a.bin')).equals(bytes))
    })

    it('are refused with the error of the server', async t => {
      const { ports, root } = await launched(t)
      const { client } = follow(t, `${over}://127.0.0.1:${ports[over]}`)
      for (const path of ['../a', '/a', 'a//b', '.fws-parts/a', ''])
        await assert.rejects(client.sendFile('a', path), { code: 'path' }, path)
      await assert.rejects(client.sendFile('a', 'no/folder'), { code: 'missing' })
      await assert.rejects(client.getFile('none'), { code: 'missing' })
      await assert.rejects(client.getFile('../none'), { code: 'path' })
      assert.deepEqual(filesIn(root), [])
    })
  })
}

it('a page sends and receives files as Blobs, in transfers of both sides', { skip: skipWithoutBrowser }, async t => {
  const root = folder(t)
  const pagesRoot = folder(t, { 'index.html': '<!doctype html><link rel="icon" href="data:,"><p>page</p>' })
  const filter = building(api => {
    api.request('push', client => api.sendFile(client, 'a.bin', 'pushed.bin'))
    api.request('pull', client => api.getFile(client, 'page.bin', 'pulled.bin'))
    return {}
  })
  const { url } = await serve(t, { filters: ['pages', 'messaging', filter], pagesRoot, messagingRoot: root })
  const page = watched(t, await (await browser(t)).newPage())
  const loaded: string[] = []
  page.on('request', request => loaded.push(new URL(request.url()).pathname))
  await page.goto(url.replace('ws:', 'http:'))
  const seen = await page.evaluate<Record<string, unknown>>(`(async () => {
    const { connectMessaging, blobs, MessagingError } = await import('/fws/messaging.js')
    const bytes = Uint32Array.from({ length: ${LARGE / 4} }, (_, i) => i * 4)
    const file = new File([bytes], 'a.bin')
    const received = []
    const ground = connectMessaging(location.href.replace('http', 'ws'), {
      id: 'page',
      files: blobs({ take: file => received.push(file), give: path => path === 'page.bin' ? file : undefined }),
    })
    const isTheSame = async blob => {
      const words = new Uint32Array(await blob.arrayBuffer())
      return words.length === bytes.length && words.every((word, i) => word === i * 4)
    }
    const sent = await ground.sendFile(file, 'a.bin')
    const got = await isTheSame(await ground.getFile('a.bin'))
    await ground.call('push', [], {}, { timeout: 120_000 })
    await ground.call('pull', [], {}, { timeout: 120_000 })
    const refused = await ground.sendFile('text', '../a').catch(error => error instanceof MessagingError && error.code)
    const seen = { sent, got, refused, pushed: received[0].filepath, isPushed: await isTheSame(received[0].blob) }
    ground.close()
    return seen
  })()`)
  assert.deepEqual(loaded, ['/', '/fws/messaging.js', '/fws/messaging-files.js', '/fws/messaging-handlers.js'])
  const bytes = offsetBytes(LARGE)
  const sent = { bytes: LARGE, sha256: sha256(bytes) }
  assert.deepEqual(seen, { sent, got: true, refused: 'path', pushed: 'pushed.bin', isPushed: true })
  assert.ok(readFileSync(join(root, 'a.bin')).equals(bytes))
  assert.ok(readFileSync(join(root, 'pulled.bin')).equals(bytes))
})
