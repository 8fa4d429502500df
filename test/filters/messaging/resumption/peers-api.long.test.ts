// Two implementations check each other: the filter, and a client in Python that was written from the protocol's description.
import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { MessagingApi } from '../../../../filters/messaging.ts'
import { authority, signed } from '../../../support/certificates.ts'
import { folder } from '../../../support/cli.ts'
import { building, door, plainly, vector } from '../../../support/messaging.ts'
import { Peer, until } from '../../../support/peer.ts'
import { needsPython, PythonPeer } from '../../../support/python-peer.ts'

describe('a peer in Python', needsPython, () => {
  it('shares a room with browsers', async t => {
    const { server, port, clientOf } = await door(t, ['broadcast'])
    const [ann, bob] = [await Peer.open(server.url, {}, ['messaging']), await Peer.open(server.url)]
    const drone = await PythonPeer.open(t, port, 'copter1')
    await clientOf(3)
    drone.tell({ do: 'action', name: 'telemetry', args: [1], kwargs: { mode: 'полёт' } })
    drone.tell({ do: 'action', name: 'message', args: ['hello'] })
    await Promise.all([ann.get(2), bob.get(2)])
    assert.deepEqual(ann.received, [
      '{"action":"telemetry","args":[1],"kwargs":{"mode":"полёт"}}',
      '{"action":"message","args":["hello"],"kwargs":{}}',
    ])
    assert.deepEqual(bob.received, ['{"action":"telemetry","args":[1],"kwargs":{"mode":"полёт"}}', 'hello'])
    ann.send('{"action": "led_fill", "args": [255, 0, 16], "kwargs": {"é": "🚁"}}')
    bob.send('hi')
    assert.deepEqual(await drone.get(2), [
      { action: 'led_fill', args: [255, 0, 16], kwargs: { é: '🚁' } },
      { action: 'message', args: ['hi'], kwargs: {} },
    ])
  })

  it('is asked for its id when it connects, and is called by it', async t => {
    const known: unknown[] = []
    let api!: MessagingApi
    const filter = building(given => {
      api = given
      given.onId((client, id) => void known.push([client.transport, id, { ...client.state.messaging }]))
    })
    const { port } = await door(t, [filter], { messagingAskId: true })
    await Promise.all(['copter1', 'copter2', 'other'].map(id => PythonPeer.open(t, port, id)))
    await until(() => known.length === 3)
    assert.deepEqual(
      known.sort(),
      ['copter1', 'copter2', 'other'].map(id => ['messaging', id, { id }]),
    )
    const answers = await api.callAll('copter*', 'echo', [1, 'é'], { a: null })
    assert.deepEqual(answers.map(({ id, value }) => plainly([id, value])).sort(), [
      ['copter1', { args: [1, 'é'], kwargs: { a: null } }],
      ['copter2', { args: [1, 'é'], kwargs: { a: null } }],
    ])
  })

  it('sends NaN, and does not answer unknown requests', async t => {
    let api!: MessagingApi
    const filter = building(given => {
      api = given
    })
    const { port, clientOf } = await door(t, [filter])
    const drone = await PythonPeer.open(t, port, 'copter1')
    const client = await clientOf(1)
    const telemetry = (await api.call(client, 'telemetry')) as { battery: number[]; mode: string }
    assert.deepEqual([telemetry.battery, telemetry.mode], [[Number.NaN, Number.POSITIVE_INFINITY], 'полёт'])
    await assert.rejects(api.call(client, 'unknown', [], {}, { timeout: 200 }), { code: 'timeout' })
    assert.deepEqual(await drone.get(1), [{ unanswered: 'unknown' }])
  })

  it('gets answers, and null with an error that it may ignore', async t => {
    const filter = building(api => api.request('sum', (_, args) => Number(args[0]) + Number(args[1])))
    const { port } = await door(t, [filter])
    const drone = await PythonPeer.open(t, port, 'copter1')
    drone.tell({ do: 'request', name: 'sum', request_id: '0001', args: [1, 2] })
    drone.tell({ do: 'request', name: 'clover_dir', request_id: '0002' })
    drone.tell({ do: 'raw', hex: vector('py27/request/args').toString('hex') })
    assert.deepEqual(await drone.get(3), [
      { response: 'sum', id: '0001', value: 3, error: null },
      {
        response: 'clover_dir',
        id: '0002',
        value: null,
        error: { code: 'unknown', message: 'there is no request "clover_dir"' },
      },
      { response: 'sum', id: '9999', value: 3, error: null },
    ])
  })

  it('sends a frame byte by byte, and a large one', async t => {
    const filter = building(api => api.action('note', (client, args) => api.emit(client, 'stored', args)))
    const { port } = await door(t, [filter])
    const drone = await PythonPeer.open(t, port, 'copter1')
    const long = 'é'.repeat(150_000)
    drone.tell({ do: 'slowly', name: 'note', args: ['byte by byte'], pieces: 1 })
    drone.tell({ do: 'slowly', name: 'note', args: [long], pieces: 1017 })
    const [short, large] = await drone.get(2)
    assert.deepEqual(short, { action: 'stored', args: ['byte by byte'], kwargs: {} })
    assert.ok((large as { args: string[] }).args[0] === long)
  })

  it('notices the end of its connection, and reconnects', async t => {
    const { port, clientOf, server } = await door(t, [])
    const drone = await PythonPeer.open(t, port, 'copter1')
    const client = await clientOf(1)
    client.send('bye')
    client.disconnect()
    assert.deepEqual(await drone.get(2), [{ action: 'message', args: ['bye'], kwargs: {} }, { closed: true }])
    const next = await PythonPeer.open(t, port, 'copter1')
    await clientOf(1)
    next.tell({ do: 'close' })
    await until(() => server.clients.size === 0)
    assert.equal(server.counters.closes[1000], 2)
  })

  it('connects over TLS', async t => {
    const ours = await authority('our own')
    const { key, cert } = await signed(ours, { commonName: 'localhost' })
    const path = folder(t, { 'key.pem': key, 'cert.pem': cert, 'ca.pem': ours.cert })
    const { port, clientOf } = await door(t, ['echo'], {
      messagingKey: `${path}/key.pem`,
      messagingCert: `${path}/cert.pem`,
    })
    const drone = await PythonPeer.open(t, port, 'copter1', `${path}/ca.pem`)
    await clientOf(1)
    drone.tell({ do: 'action', name: 'note', args: [1] })
    assert.deepEqual(await drone.get(1), [{ action: 'note', args: [1], kwargs: {} }])
  })
})
