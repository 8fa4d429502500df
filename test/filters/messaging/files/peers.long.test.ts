import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import type { MessagingApi } from '../../../../filters/messaging.ts'
import { folder } from '../../../support/cli.ts'
import { building } from '../../../support/messaging.ts'
import { bytesOf, fileDoor, filesIn, sha256, unfinished } from '../../../support/messaging-files.ts'
import { until } from '../../../support/peer.ts'
import { needsPython, PythonPeer } from '../../../support/python-peer.ts'

const EVERY_BYTE = Buffer.from(Array.from({ length: 256 }, (_, byte) => byte))
const LARGE = bytesOf(3_000_000)

/** A server with a root, and a Python peer with a folder. */
async function pair(t: TestContext, files: Record<string, string> = {}) {
  let api!: MessagingApi
  const filter = building(given => {
    api = given
  })
  const ours = await fileDoor(t, { files, filters: [filter, 'echo'], messagingMaxFile: 4_000_000 })
  const theirs = folder(t)
  const drone = await PythonPeer.openIn(t, theirs, ours.port, 'copter1')
  return { ...ours, api, theirs, drone, client: await ours.clientOf(1) }
}

describe('files of a peer in Python, in the form of clever-show', needsPython, () => {
  for (const [what, content] of [
    ['with nothing in it', Buffer.alloc(0)],
    ['with every byte', EVERY_BYTE],
    ['of 3 MB', LARGE],
  ] as const) {
    it(`are sent and requested: ${what}`, async t => {
      const { root, theirs, drone, client, api } = await pair(t)
      writeFileSync(join(theirs, 'local'), content)
      drone.tell({ do: 'send_file', local: 'local', filepath: 'remote' })
      drone.tell({ do: 'get_file', filepath: 'remote', local: 'back', request_id: '0001' })
      const [back] = await drone.get(1)
      assert.deepEqual(back, { file: 'back', size: content.length, sha256: sha256(content) })
      assert.deepEqual(readFileSync(join(root, 'remote')), content)
      assert.deepEqual(unfinished(root), [])

      await api.sendFile(client, 'remote', 'sent')
      await drone.get(2)
      assert.deepEqual(readFileSync(join(theirs, 'sent')), content)
      await api.getFile(client, 'sent', 'got')
      assert.deepEqual(readFileSync(join(root, 'got')), content)
      assert.deepEqual(await api.getFile(client, 'sent'), content)
    })
  }

  it('are saved before later actions run', async t => {
    const seen: unknown[] = []
    const { root, port } = await fileDoor(t, {
      filters: [
        building(api => api.action('update_animation', () => void seen.push(existsSync(join(root, 'animation.csv'))))),
      ],
    })
    const theirs = folder(t, { local: '0 1 2' })
    const drone = await PythonPeer.openIn(t, theirs, port, 'copter1')
    drone.tell({ do: 'send_file', local: 'local', filepath: 'animation.csv' })
    drone.tell({ do: 'action', name: 'update_animation' })
    await until(() => seen.length === 1)
    assert.deepEqual(seen, [true])
  })

  it('are not written when they are refused, and the connection stays open', async t => {
    const { root, theirs, drone, logged } = await pair(t, { 'folder/kept': 'as it was' })
    writeFileSync(join(theirs, 'local'), EVERY_BYTE)
    const refused = [
      '../outside',
      '/tmp/outside',
      'a/../../b',
      'nowhere/file',
      'folder',
      'folder/',
      '.fws-parts/x',
      'a\\b',
    ]
    for (const filepath of refused) drone.tell({ do: 'send_file', local: 'local', filepath })
    drone.tell({ do: 'get_file', filepath: '../outside', local: 'none', request_id: '0001' })
    await drone.get(1)
    drone.tell({ do: 'action', name: 'still here' })
    const heard = await drone.get(2)
    assert.deepEqual(heard, [
      {
        response: 'filetransfer',
        id: '0001',
        value: null,
        error: {
          code: 'path',
          message: 'a path is relative, with names between single slashes, none of them . or .., received "../outside"',
        },
      },
      { action: 'still here', args: [], kwargs: {} },
    ])
    assert.deepEqual(filesIn(root), ['folder', 'folder/kept'])
    assert.deepEqual(unfinished(root), [])
    assert.equal(existsSync(join(root, '../outside')), false)
    assert.ok(logged.some(({ msg }) => String(msg).startsWith('file refused: a path is relative')))
  })

  it('end the connection when they are too large, before their bytes are read', async t => {
    const { root, theirs, drone } = await pair(t)
    writeFileSync(join(theirs, 'local'), bytesOf(4_000_001))
    drone.tell({ do: 'send_file', local: 'local', filepath: 'large' })
    assert.deepEqual(await drone.get(1), [{ closed: true }])
    assert.deepEqual(filesIn(root), [])
  })

  it('that do not exist are not answered, and the call times out', async t => {
    let api!: MessagingApi
    const ours = await fileDoor(t, {
      filters: [
        building(given => {
          api = given
        }),
      ],
      messagingIdle: 0.3,
    })
    const drone = await PythonPeer.openIn(t, folder(t), ours.port, 'copter1')
    const client = await ours.clientOf(1)
    await assert.rejects(api.getFile(client, 'nothing', 'local'), {
      code: 'timeout',
      message: `client ${client.id} has not answered "filetransfer" within 300 ms`,
    })
    assert.deepEqual(await drone.get(1), [{ unanswered: 'nothing' }])
    assert.deepEqual(filesIn(ours.root), [])
  })
})
