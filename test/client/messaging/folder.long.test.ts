import assert from 'node:assert/strict'
import { existsSync, mkdirSync, readdirSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { blobs, type FolderOptions, folder as files, type Sharing } from '../../../client/messaging/node.ts'
import type { MessagingApi } from '../../../filters/messaging.ts'
import { folder } from '../../support/cli.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { offsetBytes } from '../../support/file-station.ts'
import { building, door } from '../../support/messaging.ts'
import { follow } from '../../support/messaging-client.ts'
import { until } from '../../support/peer.ts'

const PART = 256 * 1024
const LARGE = 20 * 1024 * 1024

/** A server with a root, and a client that shares files. */
async function pair(t: TestContext, over: 'tcp' | 'ws', shared: Sharing, isCut = false) {
  const root = folder(t)
  let api: MessagingApi | undefined
  const filter = building(given => {
    api = given
    return {}
  })
  const { server, port } = await door(t, [filter], { messagingRoot: root })
  const target = over === 'tcp' ? port : Number(new URL(server.url).port)
  const proxy = isCut ? await startFaultProxy({ host: '127.0.0.1', port: target }) : undefined
  if (proxy) t.after(() => proxy.stop())
  const client = follow(t, `${over}://127.0.0.1:${proxy?.port ?? target}`, { files: shared })
  await client.opened()
  return { ...client, root, api: api!, proxy, clientOf: () => [...server.clients.values()].at(-1)!, server }
}

async function shared(t: TestContext, options?: FolderOptions) {
  const home = folder(t)
  return { home, files: await files(home, options) }
}

for (const over of ['tcp', 'ws'] as const) {
  describe(`a folder that a messaging client shares over ${over}`, () => {
    it('receives and sends files of any size', async t => {
      const received: string[] = []
      const { home, files } = await shared(t, { onFile: filepath => void received.push(filepath) })
      const { api, root, clientOf } = await pair(t, over, files)
      mkdirSync(join(home, 'paths'))
      for (const size of [0, 1, PART, PART + 1, LARGE]) {
        const bytes = offsetBytes(size)
        writeFileSync(join(root, 'a.bin'), bytes)
        await api.sendFile(clientOf(), 'a.bin', 'paths/b.bin')
        assert.ok(readFileSync(join(home, 'paths/b.bin')).equals(bytes), `${size} bytes sent`)
        await api.getFile(clientOf(), 'paths/b.bin', 'c.bin')
        assert.ok(readFileSync(join(root, 'c.bin')).equals(bytes), `${size} bytes got`)
      }
      assert.deepEqual(received, Array(5).fill('paths/b.bin'))
    })

    it('resumes after the connection broke', async t => {
      const { home, files } = await shared(t)
      const { api, root, clientOf, proxy, opened, server } = await pair(t, over, files, true)
      writeFileSync(join(root, 'a.bin'), offsetBytes(LARGE))
      const onProgress = ({ bytes }: { bytes: number }) => {
        if (bytes >= LARGE / 2) proxy!.cut()
      }
      await assert.rejects(api.sendFile(clientOf(), 'a.bin', 'b.bin', { onProgress }), { code: 'gone' })
      assert.equal(existsSync(join(home, 'b.bin')), false)
      await opened(2)
      await until(() => server.clients.size === 1)
      const progress: number[] = []
      await api.sendFile(clientOf(), 'a.bin', 'b.bin', { onProgress: ({ bytes }) => void progress.push(bytes) })
      assert.ok(progress[0]! > LARGE / 2, `resumes at ${progress[0]}`)
      assert.ok(readFileSync(join(home, 'b.bin')).equals(offsetBytes(LARGE)))
    })

    it('refuses paths outside of the folder, links, and too large files', async t => {
      const { home, files } = await shared(t, { maxFile: 10 })
      const { api, root, clientOf } = await pair(t, over, files)
      const outside = folder(t, { secret: 'secret' })
      symlinkSync(join(outside, 'secret'), join(home, 'link'))
      symlinkSync(outside, join(home, 'folder'))
      writeFileSync(join(root, 'a'), 'short')
      writeFileSync(join(root, 'b'), 'longer than ten')
      for (const path of ['../a', '/a', 'a//b', 'link', 'folder/a', '.fws-parts/a'])
        await assert.rejects(api.sendFile(clientOf(), 'a', path), { code: 'path' }, path)
      for (const path of ['../a', 'link', 'folder/secret', '.fws-parts'])
        await assert.rejects(api.getFile(clientOf(), path), { code: 'path' }, path)
      await assert.rejects(api.sendFile(clientOf(), 'a', 'no/a'), { code: 'missing' })
      await assert.rejects(api.getFile(clientOf(), 'none'), { code: 'missing' })
      await assert.rejects(api.sendFile(clientOf(), 'b', 'b'), { code: 'too-large' })
      assert.deepEqual(readdirSync(outside), ['secret'])
      assert.equal(readFileSync(join(outside, 'secret'), 'utf8'), 'secret')
    })

    it('receives a file again that was replaced or refused', async t => {
      let isRefused = true
      const { home, files } = await shared(t, {
        onFile: () => {
          if (isRefused) throw new Error('not now')
        },
      })
      const { api, root, clientOf } = await pair(t, over, files)
      for (const name of ['one', 'two']) writeFileSync(join(root, name), name)
      const send = (name: string) => api.sendFile(clientOf(), name, 'path')
      for (let i = 0; i < 2; i++) await assert.rejects(send('one'), { message: 'not now' })
      isRefused = false
      for (const name of ['one', 'two', 'one']) {
        await send(name)
        assert.equal(readFileSync(join(home, 'path'), 'utf8'), name)
      }
    })

    it('receives a replaced file again as a Blob', async t => {
      const received: Blob[] = []
      const { api, root, clientOf } = await pair(t, over, blobs({ take: ({ blob }) => void received.push(blob) }))
      for (const name of ['one', 'two']) writeFileSync(join(root, name), name)
      for (const name of ['one', 'two', 'one']) await api.sendFile(clientOf(), name, 'path')
      assert.deepEqual(await Promise.all(received.map(blob => blob.text())), ['one', 'two', 'one'])
    })

    it('can be Blobs', async t => {
      const received: Blob[] = []
      const give = new Blob([offsetBytes(3 * PART + 1)])
      const { api, root, clientOf } = await pair(
        t,
        over,
        blobs({ take: ({ blob }) => void received.push(blob), give: path => (path === 'g' ? give : undefined) }),
      )
      for (const size of [0, 1, PART, 5 * PART + 3]) {
        writeFileSync(join(root, 'a'), offsetBytes(size))
        await api.sendFile(clientOf(), 'a', 'b')
        assert.ok(Buffer.from(await received.at(-1)!.arrayBuffer()).equals(offsetBytes(size)), `${size} bytes`)
      }
      assert.equal(received.length, 4)
      assert.ok((await api.getFile(clientOf(), 'g')).equals(offsetBytes(3 * PART + 1)))
      await api.getFile(clientOf(), 'g', 'got')
      assert.ok(readFileSync(join(root, 'got')).equals(offsetBytes(3 * PART + 1)))
      await assert.rejects(api.getFile(clientOf(), 'none'), { code: 'missing' })
    })
  })
}

it('folder() refuses a path that is no folder', async t => {
  const home = folder(t, { file: '' })
  await assert.rejects(files(join(home, 'none')), { code: 'ENOENT' })
  await assert.rejects(files(join(home, 'file')), {
    name: 'TypeError',
    message: `folder() takes a folder, received "${join(home, 'file')}"`,
  })
})
