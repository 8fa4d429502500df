import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { schedulerOf } from '../../../client/messaging/scheduler.ts'
import type { Messaging } from '../../../filters/messaging/wire/message.ts'
import { type GroundOptions, ground, type Line } from '../../support/ground.ts'
import { failing, follow, responseTo } from '../../support/messaging-client.ts'
import { until } from '../../support/peer.ts'
import { root } from '../../support/root.ts'

const exec = promisify(execFile)
/** Closes its client on request, and then ends. */
const PROGRAM = `
import { connectMessaging } from '${pathToFileURL(join(root, 'dist/client/messaging/node.js'))}'
const client = connectMessaging(process.env.STATION)
client.action('start', () => console.log('started'))
client.request('stop', () => {
  client.close()
  console.log('closed')
})`

/** Seconds that the server's clock is ahead. */
const AHEAD = 100
const server = () => Date.now() / 1000 + AHEAD

const sendTime: GroundOptions['onMessage'] = (message, line) => {
  if (message.name === 'fws.clock') line.send(responseTo(message, [server(), server()]))
}
/** As clever-show, which has no other request for the time. */
const sendCleverShowTime: GroundOptions['onMessage'] = (message, line) => {
  if (message.name === 'time') line.send(responseTo(message, server()))
  else line.send({ ...responseTo(message, null), error: { code: 'unknown', message: 'no such request' } } as Messaging)
}

const timeRequests = ({ received }: Line) => received.filter(({ name }) => name === 'fws.clock' || name === 'time')

describe('the clock of a messaging client', () => {
  for (const [name, onMessage, resume] of [
    ['fws.clock', sendTime, { window: 1000 }],
    ['time', sendCleverShowTime, 'unknown'],
    ['time', sendCleverShowTime, undefined],
  ] as const) {
    it(`follows the server's clock by ${name} with a bounded error if the response to fws.resume is ${JSON.stringify(resume)}`, async t => {
      const station = await ground(t, { onMessage, resume })
      const { clock } = follow(t, station.url).client
      assert.deepEqual([clock.offset, clock.error], [0, Number.POSITIVE_INFINITY])
      await clock.sync()
      // This server sends whole milliseconds.
      assert.ok(
        Math.abs(clock.offset - AHEAD) <= clock.error + 0.002,
        `${clock.offset} is not ${AHEAD} ± ${clock.error}`,
      )
      assert.ok(clock.error > 0 && clock.error < 1, `${clock.error}`)
      assert.ok(Math.abs(clock.now() - server()) < 10)
    })
  }

  it('bounds its error if the delays are asymmetric', async t => {
    const station = await ground(t, {
      onMessage: (message, line) => {
        const now = server()
        setTimeout(() => line.send(responseTo(message, [now, now])), 20)
      },
    })
    const { clock } = follow(t, station.url).client
    await clock.sync()
    assert.ok(Math.abs(clock.offset - AHEAD) <= clock.error + 0.002)
    assert.ok(clock.error >= 0.01 && clock.error < 1, `${clock.error}`)
  })

  for (const [time, resume] of [
    ['noon', { window: 1000 }],
    [null, { window: 1000 }],
    [null, 'unknown'],
    [[1], { window: 1000 }],
  ] as const)
    it(`refuses ${JSON.stringify(time)} as a time if the response to fws.resume is ${JSON.stringify(resume)}`, async t => {
      const station = await ground(t, { resume, onMessage: (message, line) => line.send(responseTo(message, time)) })
      const { clock } = follow(t, station.url).client
      await assert.rejects(clock.sync(), failing('failed', 'the server sent no valid time'))
      assert.deepEqual([clock.offset, clock.error], [0, Number.POSITIVE_INFINITY])
    })

  it('is measured again on the next connection after sync()', async t => {
    const station = await ground(t, { onMessage: sendTime })
    const { client, opened } = follow(t, station.url)
    await opened()
    const line = await station.line()
    assert.equal(timeRequests(line).length, 0)
    await client.clock.sync()
    assert.equal(timeRequests(line).length, 8)
    line.cut()
    const again = await station.line(2)
    await until(() => timeRequests(again).length === 8)
  })
})

describe('an action with a start time', () => {
  it('runs at that time on the clock of the server; others do not wait', async t => {
    const station = await ground(t, { onMessage: sendTime })
    const { client } = follow(t, station.url)
    const done: (readonly [string, number])[] = []
    for (const name of ['start', 'led']) client.action(name, () => void done.push([name, client.clock.now()]))
    const line = await station.line()
    const at = server() + 0.25
    const action = { type: 'message', args: [], kwargs: {} } as const
    line.send({ ...action, name: 'start', at, id: 'k.1' })
    line.send({ ...action, name: 'start', at: at - 0.1 })
    line.send({ ...action, name: 'led' })
    line.send({ ...action, name: 'start', at: at - 3600 })
    await until(() => done.length === 4)
    assert.deepEqual(
      done.map(([name]) => name),
      ['led', 'start', 'start', 'start'],
    )
    for (const [i, instant] of [at - 0.1, at].entries()) {
      const late = done[i + 2]![1] - instant
      assert.ok(late >= 0 && late < 10, `${late * 1000} ms late`)
    }
    await until(() => line.received.some(message => message.type === 'response' && message.id === 'k.1'))
  })

  it('is dropped if the client is closed during the measurement', async () => {
    let refuse = (_: Error) => {}
    const response = new Promise((_, reject) => {
      refuse = reject
    })
    let start = () => {}
    const started = new Promise<void>(resolve => {
      start = resolve
    })
    const sync = async () => {
      start()
      await response
    }
    const clock = { offset: 0, error: Number.POSITIVE_INFINITY, now: () => Date.now() / 1000, sync }
    const scheduler = schedulerOf(clock)
    let isDone = false
    scheduler.add({
      at: server() - 3600,
      size: 0,
      run: () => {
        isDone = true
      },
    })
    await started
    scheduler.stop()
    refuse(new Error('gone'))
    await new Promise(setImmediate)
    assert.equal(isDone, false)
  })

  it('is dropped with the client, and does not keep the process alive', async t => {
    const station = await ground(t, { onMessage: sendTime })
    const ended = exec(process.execPath, ['--input-type=module', '-e', PROGRAM], {
      env: { ...process.env, STATION: station.url },
      timeout: 60_000,
    })
    const line = await station.line()
    line.send({ type: 'message', name: 'start', args: [], kwargs: {}, at: server() + 3600 })
    await until(() => timeRequests(line).length === 8)
    line.send({ type: 'request', name: 'stop', id: '1', args: [], kwargs: {} })
    assert.equal((await ended).stdout, 'closed\n')
  })
})
