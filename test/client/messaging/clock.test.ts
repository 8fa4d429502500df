import assert from 'node:assert/strict'
import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { pathToFileURL } from 'node:url'
import { promisify } from 'node:util'
import { clockOf } from '../../../client/messaging/clock.ts'
import { laterOf } from '../../../client/messaging/later.ts'
import type { Messaging } from '../../../filters/messaging/wire/message.ts'
import { type GroundOptions, ground, type Line } from '../../support/ground.ts'
import { answer, failing, follow } from '../../support/messaging-client.ts'
import { until } from '../../support/peer.ts'
import { root } from '../../support/root.ts'

const exec = promisify(execFile)
/** Closes its client when it is told to, and ends when nothing holds it. */
const PROGRAM = `
import { connectMessaging } from '${pathToFileURL(join(root, 'client/messaging/node.ts'))}'
const client = connectMessaging(process.env.STATION)
client.action('start', () => console.log('started'))
client.request('stop', () => {
  client.close()
  console.log('closed')
})`

/** Seconds that the server's clock is ahead. */
const AHEAD = 100
const server = () => Date.now() / 1000 + AHEAD

const telling: GroundOptions['hear'] = (said, line) => {
  if (said.name === 'fws.clock') line.send(answer(said, [server(), server()]))
}
/** As the original: it knows no other clock. */
const tellingTime: GroundOptions['hear'] = (said, line) => {
  if (said.name === 'time') line.send(answer(said, server()))
  else line.send({ ...answer(said, null), error: { code: 'unknown', message: 'no such request' } } as Messaging)
}

const asked = ({ received }: Line) => received.filter(({ name }) => name === 'fws.clock' || name === 'time')

describe('the clock of a messaging client', () => {
  for (const [name, hear, resume] of [
    ['fws.clock', telling, { window: 1000 }],
    ['time', tellingTime, 'unknown'],
    ['time', tellingTime, undefined],
  ] as const) {
    it(`follows the server's as ${name} tells it to a client that resumes ${JSON.stringify(resume)}, and knows how far it may be wrong`, async t => {
      const station = await ground(t, { hear, resume })
      const { clock } = follow(t, station.url).client
      assert.deepEqual([clock.offset, clock.error], [0, Number.POSITIVE_INFINITY])
      await clock.sync()
      // The server of this test tells whole milliseconds.
      assert.ok(
        Math.abs(clock.offset - AHEAD) <= clock.error + 0.002,
        `${clock.offset} is not ${AHEAD} ± ${clock.error}`,
      )
      assert.ok(clock.error > 0 && clock.error < 0.1, `${clock.error}`)
      assert.ok(Math.abs(clock.now() - server()) < 0.1)
    })
  }

  it('bounds its error also where the ways there and back are uneven', async t => {
    const station = await ground(t, {
      hear: (said, line) => {
        const now = server()
        setTimeout(() => line.send(answer(said, [now, now])), 20)
      },
    })
    const { clock } = follow(t, station.url).client
    await clock.sync()
    assert.ok(Math.abs(clock.offset - AHEAD) <= clock.error + 0.002)
    assert.ok(clock.error >= 0.01 && clock.error < 0.1, `${clock.error}`)
  })

  for (const [time, resume] of [
    ['noon', { window: 1000 }],
    [null, { window: 1000 }],
    [null, 'unknown'],
    [[1], { window: 1000 }],
  ] as const)
    it(`refuses ${JSON.stringify(time)}, which is no time, after resuming ${JSON.stringify(resume)}`, async t => {
      const station = await ground(t, { resume, hear: (said, line) => line.send(answer(said, time)) })
      const { clock } = follow(t, station.url).client
      await assert.rejects(clock.sync(), failing('failed', 'the server told no time'))
      assert.deepEqual([clock.offset, clock.error], [0, Number.POSITIVE_INFINITY])
    })

  it('asks again on the next connection, once it has been asked', async t => {
    const station = await ground(t, { hear: telling })
    const { client, opened } = follow(t, station.url)
    await opened()
    const line = await station.line()
    assert.equal(asked(line).length, 0)
    await client.clock.sync()
    assert.equal(asked(line).length, 8)
    line.cut()
    const again = await station.line(2)
    await until(() => asked(again).length === 8)
  })
})

describe('an action at an instant', () => {
  it('is done then, by the clock of the server, while others go on', async t => {
    const station = await ground(t, { hear: telling })
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
      assert.ok(late >= 0 && late < 0.05, `${late * 1000} ms late`)
    }
    await until(() => line.received.some(said => said.type === 'response' && said.id === 'k.1'))
  })

  it('is forgotten also by a client that ends while it asks for the time', async () => {
    let refuse = (_: Error) => {}
    const asking = new Promise((_, reject) => {
      refuse = reject
    })
    let isAsked = () => {}
    const begun = new Promise<void>(resolve => {
      isAsked = resolve
    })
    const clock = clockOf(() => {
      isAsked()
      return asking
    })
    const later = laterOf(clock)
    let isDone = false
    later.add({
      at: server() - 3600,
      size: 0,
      run: () => {
        isDone = true
      },
    })
    await begun
    later.stop()
    refuse(new Error('gone'))
    await new Promise(setImmediate)
    assert.equal(isDone, false)
  })

  it('is forgotten with the client, and then holds no process', async t => {
    const station = await ground(t, { hear: telling })
    const ended = exec(
      process.execPath,
      ['--import', import.meta.resolve('tsx'), '--input-type=module', '-e', PROGRAM],
      {
        env: { ...process.env, STATION: station.url },
        timeout: 10_000,
      },
    )
    const line = await station.line()
    line.send({ type: 'message', name: 'start', args: [], kwargs: {}, at: server() + 3600 })
    await until(() => asked(line).length === 8)
    line.send({ type: 'request', name: 'stop', id: '1', args: [], kwargs: {} })
    assert.equal((await ended).stdout, 'closed\n')
  })
})
