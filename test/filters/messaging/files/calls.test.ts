import assert from 'node:assert/strict'
import { appendFileSync, readFileSync, statSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { frameOf, type Response } from '../../../../filters/messaging/wire/message.ts'
import type { MessagingApi } from '../../../../filters/messaging.ts'
import type { Client } from '../../../../src/contract/client.ts'
import { action, building, framed, headerOf, request } from '../../../support/messaging.ts'
import {
  bytesOf,
  type FileDoor,
  FilePeer,
  fileDoor,
  filesIn,
  PART,
  sha256,
  unfinished,
} from '../../../support/messaging-files.ts'
import { Peer, until } from '../../../support/peer.ts'

const MB = bytesOf(1_000_000)

/** A server whose root has `a.bin`, and its peers, with and without support of parts. */
async function ground(t: TestContext, options: FileDoor = {}) {
  let api!: MessagingApi
  const filter = building(given => {
    api = given
  })
  const all = await fileDoor(t, { ...options, filters: [filter] })
  writeFileSync(join(all.root, 'a.bin'), MB)
  const come = async (count = 1) => {
    const socket = await all.peer()
    return { socket, client: await all.clientOf(count) }
  }
  const ours = async (count = 1) => {
    const { socket, client } = await come(count)
    const files = new FilePeer(socket)
    socket.send(request('fws.resume', 'r', [], { id: 'x', epoch: 'e' }))
    await socket.get(1)
    return { socket, client, files }
  }
  return { ...all, api, come, ours }
}

/** Collects progress. */
function watch() {
  const told: number[] = []
  return { told, onProgress: ({ bytes, size }: { bytes: number; size: number }) => void told.push(bytes, size) }
}

describe('sendFile', () => {
  it('sends parts to a client that supports them, with progress', async t => {
    const { api, ours } = await ground(t)
    const { client, files } = await ours()
    const { told, onProgress } = watch()
    await api.sendFile(client, 'a.bin', 'b.bin', { onProgress })
    assert.deepEqual(files.files.get('b.bin'), MB)
    assert.deepEqual(files.heard, [
      'fws.part b.bin',
      'part b.bin 0',
      'part b.bin 262144',
      'part b.bin 524288',
      'part b.bin 786432',
    ])
    assert.deepEqual(
      told,
      [PART, 2 * PART, 3 * PART, MB.length].flatMap(bytes => [bytes, MB.length]),
    )
  })

  it('sends one frame of limited size to other clients', async t => {
    const { api, come, root } = await ground(t, { files: { small: 'small', empty: '' }, messagingMaxWhole: 10_000 })
    const { client, socket } = await come()
    const { told, onProgress } = watch()
    await api.sendFile(client, 'small', 'remote', { onProgress })
    await api.sendFile(client, 'empty', 'none')
    const [sent, none] = await socket.get(2)
    assert.deepEqual(
      { ...sent, kwargs: { ...(sent as { kwargs: object }).kwargs } },
      {
        type: 'message',
        name: 'filetransfer',
        args: [],
        kwargs: { filepath: 'remote' },
        content: Buffer.from('small'),
      },
    )
    assert.deepEqual((none as { content: Buffer }).content.length, 0)
    assert.deepEqual(told, [5, 5])
    await assert.rejects(api.sendFile(client, 'a.bin', 'remote'), {
      code: 'too-large',
      message: 'a file in one frame has at most 10000 bytes, this has 1000000',
    })
    assert.deepEqual(filesIn(root).length, 3)
  })

  it('ends with its client, and the next call continues', async t => {
    const { api, ours } = await ground(t)
    const first = await ours()
    first.files.answer = (said, answer) => {
      if (said.type === 'message' && said.part!.offset === PART) first.socket.socket.destroy()
      return answer
    }
    await assert.rejects(api.sendFile(first.client, 'a.bin', 'b.bin'), {
      code: 'gone',
      message: `client ${first.client.id} has gone without an answer to "filetransfer"`,
    })
    const second = await ours()
    for (const [key, bytes] of first.files.there) second.files.there.set(key, bytes)
    const [there] = [...second.files.there.values()].map(({ length }) => length)
    await api.sendFile(second.client, 'a.bin', 'b.bin')
    assert.deepEqual(second.files.files.get('b.bin'), MB)
    assert.ok(there! >= PART)
    assert.equal(second.files.heard[1], `part b.bin ${there}`)
  })

  it('asks for the offset when a part is refused, at most three times without progress', async t => {
    const { api, ours } = await ground(t)
    const { client, files } = await ours()
    let refusals = 1
    files.answer = (said, answer) => {
      if (said.type !== 'message' || refusals-- <= 0) return answer
      const error = { code: 'offset', message: 'no' }
      return frameOf({ type: 'response', name: said.name, id: said.id!, value: null, error })
    }
    await api.sendFile(client, 'a.bin', 'b.bin')
    assert.deepEqual(files.heard.filter(said => said.startsWith('fws')).length, 2)
    files.there.clear()
    files.heard.length = 0
    refusals = Number.POSITIVE_INFINITY
    // It receives all parts, and answers that it does not.
    files.there.clear = () => {}
    await assert.rejects(api.sendFile(client, 'a.bin', 'c.bin'), { code: 'offset', message: 'no' })
    assert.ok(files.heard.filter(said => said.startsWith('fws')).length <= 8)
  })

  it('rejects with changed when the file changes meanwhile', async t => {
    const { api, ours, root } = await ground(t)
    writeFileSync(join(root, 'a.bin'), bytesOf(8 * PART))
    const { client, files } = await ours()
    files.answer = (said, answer) => {
      if (said.type === 'message') appendFileSync(join(root, 'a.bin'), 'more')
      return answer
    }
    await assert.rejects(api.sendFile(client, 'a.bin', 'b.bin'), {
      code: 'changed',
      message: 'the file has changed meanwhile',
    })
    assert.equal(files.files.size, 0)
  })

  it('rejects on abort, and for clients that cannot receive files', async t => {
    const { api, ours, come, server } = await ground(t)
    const { client, files } = await ours()
    const abort = new AbortController()
    files.answer = () => {
      abort.abort(new Error('enough'))
      return undefined
    }
    await assert.rejects(api.sendFile(client, 'a.bin', 'b.bin', { signal: abort.signal }), { message: 'enough' })
    await assert.rejects(api.sendFile(client, 'a.bin', 'b.bin', { signal: abort.signal }), { message: 'enough' })
    await assert.rejects(api.sendFile(client, 'nothing', 'b.bin'), { code: 'missing' })
    await assert.rejects(api.sendFile(client, '../a.bin', 'b.bin'), { code: 'path' })
    await Peer.open(server.url)
    await until(() => server.clients.size === 2)
    const plain = [...server.clients.values()].at(-1) as Client
    const none = { code: 'none', message: `client ${plain.id} is not a messaging client` }
    await assert.rejects(api.sendFile(plain, 'a.bin', 'b.bin'), none)
    await assert.rejects(api.getFile(plain, 'a.bin'), none)
    const texts = await Peer.open(server.url, {}, ['messaging'])
    await until(() => server.clients.size === 3)
    const textual = [...server.clients.values()].at(-1) as Client
    await assert.rejects(api.sendFile(textual, 'a.bin', 'b.bin'), {
      code: 'none',
      message: `client ${textual.id} uses JSON text, which carries no files`,
    })
    texts.ws.close()
    await until(() => server.clients.size === 2)
    const lost = await come(3)
    lost.socket.socket.destroy()
    await until(() => server.clients.size === 2)
    await assert.rejects(api.sendFile(lost.client, 'a.bin', 'b.bin'), { code: 'none' })
  })

  it('is off without a root', async t => {
    const { api, come } = await ground(t, { messagingRoot: undefined as never })
    const { client } = await come()
    const off = { code: 'off', message: 'file transfers need --messaging-root' }
    await assert.rejects(api.sendFile(client, 'a.bin', 'b.bin'), off)
    await assert.rejects(api.getFile(client, 'a.bin', 'b.bin'), off)
  })
})

describe('getFile', () => {
  it('gets parts of a client that supports them, and checks the hash', async t => {
    const { api, ours, root } = await ground(t, { files: { 'in/old': '' } })
    const { client, files } = await ours()
    files.files.set('x', MB)
    files.files.set('empty', Buffer.alloc(0))
    const { told, onProgress } = watch()
    await api.getFile(client, 'x', 'in/x', { onProgress })
    assert.deepEqual(readFileSync(join(root, 'in/x')), MB)
    assert.deepEqual(files.heard, [
      'filetransfer x 0',
      'filetransfer x 262144',
      'filetransfer x 524288',
      'filetransfer x 786432',
      'fws.hash x',
    ])
    assert.deepEqual(
      told,
      [PART, 2 * PART, 3 * PART, MB.length].flatMap(bytes => [bytes, MB.length]),
    )
    assert.deepEqual(await api.getFile(client, 'x'), MB)
    await api.getFile(client, 'empty', 'empty')
    assert.equal(readFileSync(join(root, 'empty')).length, 0)
    await assert.rejects(api.getFile(client, 'nothing', 'y'), { code: 'missing', message: 'no file' })
    await assert.rejects(api.getFile(client, 'x', '../y'), { code: 'path' })
    assert.deepEqual(unfinished(root), [])
  })

  it('ends with its client, and the next call continues', async t => {
    const { api, ours, root } = await ground(t)
    const first = await ours()
    first.files.files.set('x', MB)
    const isThere = () => unfinished(root).some(name => statSync(join(root, '.fws-parts', name)).size === 2 * PART)
    first.files.answer = (said, answer) => {
      if (said.type !== 'request' || Number(said.kwargs.offset) < 2 * PART) return answer
      void until(isThere).then(() => first.socket.socket.destroy())
      return undefined
    }
    await assert.rejects(api.getFile(first.client, 'x', 'y'), { code: 'gone' })
    assert.deepEqual(filesIn(root), ['a.bin'])
    const second = await ours()
    second.files.files.set('x', MB)
    await api.getFile(second.client, 'x', 'y')
    assert.deepEqual(readFileSync(join(root, 'y')), MB)
    assert.deepEqual(second.files.heard.slice(0, 2), ['filetransfer x 0', `filetransfer x ${2 * PART}`])
    assert.deepEqual(unfinished(root), [])
  })

  for (const [what, code, change] of [
    ['another version', 'changed', (part: object) => ({ ...part, version: 'other' })],
    ['another size', 'changed', (part: object) => ({ ...part, size: 2_000_000 })],
    ['another place', 'offset', (part: object) => ({ ...part, offset: 0 })],
  ] as const) {
    it(`refuses a part of ${what}`, async t => {
      const { api, ours, root } = await ground(t)
      const { client, files } = await ours()
      files.files.set('x', MB)
      files.answer = (said, answer) => {
        if (said.type !== 'request' || said.kwargs.offset !== PART) return answer
        const part = change({ offset: PART, size: MB.length, version: sha256(MB) })
        const content = MB.subarray(PART, 2 * PART)
        return frameOf({ type: 'response', name: said.name, id: said.id, value: null, content, part } as Response)
      }
      await assert.rejects(api.getFile(client, 'x', 'y'), { code })
      assert.deepEqual(filesIn(root), ['a.bin'])
    })
  }

  it('deletes a file with a wrong hash', async t => {
    const { api, ours, root } = await ground(t)
    const { client, files } = await ours()
    files.files.set('x', MB)
    const wrong = sha256(Buffer.from('x'))
    files.answer = (said, answer) =>
      said.name === 'fws.hash'
        ? frameOf({ type: 'response', name: said.name, id: said.id!, value: { sha256: wrong } })
        : answer
    await assert.rejects(api.getFile(client, 'x', 'y'), {
      code: 'corrupt',
      message: `the received bytes of "x" have the sha256 ${sha256(MB)}, not ${wrong}`,
    })
    assert.deepEqual([filesIn(root), unfinished(root)], [['a.bin'], []])
  })

  it('gets one frame of other clients, and keeps nothing of an incomplete one', async t => {
    const { api, come, root } = await ground(t, { messagingMaxWhole: 500_000 })
    const { client, socket } = await come()
    const got = api.getFile(client, 'x', 'y')
    const [question] = await socket.get(1)
    socket.send(
      frameOf({ type: 'response', name: 'filetransfer', id: (question as Response).id, value: null, content: MB }),
    )
    await got
    assert.deepEqual(readFileSync(join(root, 'y')), MB)

    const large = api.getFile(client, 'x')
    const [, second] = await socket.get(2)
    socket.send(
      frameOf({ type: 'response', name: 'filetransfer', id: (second as Response).id, value: null, content: MB }),
    )
    await assert.rejects(large, {
      code: 'too-large',
      message: 'a file that is not saved has at most 500000 bytes, received 1000000',
    })

    const begin = async (count: number) => {
      const question = (await socket.get(count))[count - 1] as Response
      const fields = { 'message-type': 'response', requested_value: 'filetransfer', request_id: question.id }
      const header = headerOf('', { ...fields, 'content-type': 'binary', 'content-length': 9000 })
      socket.send(framed(header, 'x'.repeat(5000)))
      await until(() => unfinished(root).length === 1)
    }
    const abort = new AbortController()
    const stopped = api.getFile(client, 'x', 'z', { signal: abort.signal })
    await begin(3)
    abort.abort(new Error('enough'))
    await assert.rejects(stopped, { message: 'enough' })
    assert.deepEqual(unfinished(root), [])
    socket.send(Buffer.alloc(4000))

    const cut = api.getFile(client, 'x', 'z')
    await begin(4)
    socket.socket.destroy()
    await assert.rejects(cut, { code: 'gone', message: 'the connection ended before the file was complete' })
    assert.deepEqual([filesIn(root), unfinished(root)], [['a.bin', 'y'], []])
  })

  it('discards files that were not requested', async t => {
    const { come, server, root, api } = await ground(t)
    const { socket, client } = await come()
    socket.send(frameOf({ type: 'response', name: 'filetransfer', id: '0001', value: null, content: MB }), action('a'))
    await until(() => server.counters.messages === 2)
    assert.equal(server.counters.drops['unexpected response'], 1)
    const call = api.call(client, 'time')
    const [question] = await socket.get(1)
    const { id } = question as Response
    socket.send(frameOf({ type: 'response', name: 'time', id, value: 1.5 }))
    assert.equal(await call, 1.5)
    assert.deepEqual(filesIn(root), ['a.bin'])
  })
})
