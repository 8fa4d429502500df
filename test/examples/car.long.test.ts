import assert from 'node:assert/strict'
import { cpSync, readFileSync, symlinkSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import * as car from '../../examples/car/car.ts'
import { type Driver, simulated } from '../../examples/car/driver.ts'
import { type CarState, FIELD, Model } from '../../examples/car/model.ts'
import { steer } from '../../examples/car/steer.ts'
import type { Host } from '../../src/index.ts'
import { fakeClient, type SetUp, setUp, testServer } from '../../src/testing/index.ts'
import { folder, launch, root } from '../support/cli.ts'
import { Peer, serve, until } from '../support/peer.ts'

const CAR = join(root, 'examples/car')
/** The record of a reset among the bytes of a driver. */
const RESET = -1
const MIDDLE: CarState = { x: 2, y: 1.25, heading: -Math.PI / 2, speed: 0, wheel: 0, isAtWall: false }

/** The filter with a fake clock and a car that records its commands. */
function withClock(t: TestContext) {
  t.mock.timers.reset()
  t.mock.timers.enable({ apis: ['setInterval'] })
  let now = 0
  const drove: number[] = []
  const driver: Driver = {
    drive: byte => void drove.push(byte),
    where: () => MIDDLE,
    reset: () => void drove.push(RESET),
  }
  return {
    driver,
    drove,
    listening: { options: car.options, setup: (host: Host<typeof car.options>) => steer(host, driver, () => now) },
    moving: {
      options: car.options,
      setup: (host: Host<typeof car.options>) =>
        steer(
          host,
          simulated(() => now),
          () => now,
        ),
    },
    /** Advances the clock in steps of 20 ms. */
    async pass(ms: number) {
      for (const end = now + ms; now < end; ) {
        now += 20
        t.mock.timers.tick(20)
        await new Promise(setImmediate)
      }
    },
  }
}

describe('examples/car: a command', () => {
  async function listening(t: TestContext, options = {}) {
    const { drove, listening, pass } = withClock(t)
    const { message, disconnect } = (await setUp(listening, options)) as Required<SetUp>
    const say = (command: unknown, client = fakeClient()) =>
      message(typeof command === 'string' ? command : JSON.stringify(command), client, { payload: '', at: 0 })
    return { drove, pass, say, message, disconnect }
  }

  it('is a direction at middle speed, or at --car-speed', async t => {
    const { drove, say } = await listening(t)
    for (const command of ['up', 'down', 'left', 'right', 'stop']) await say({ command })
    assert.deepEqual(drove, [0x16, 0x26, 0x36, 0x46, 0])
    const fast = await listening(t, { 'car-speed': 15 })
    await fast.say({ command: 'up' })
    assert.deepEqual(fast.drove, [0x1f])
  })

  it('reset stops the car and then puts it in the middle, whatever client drives', async t => {
    const { drove, say, pass } = await listening(t)
    for (const client of [fakeClient(), fakeClient({ id: 'other' })]) {
      await say({ command: 'up' })
      await say({ command: 'reset' }, client)
    }
    await say({ command: 'reset', duration: 1 })
    await pass(11_000)
    assert.deepEqual(drove, [0x16, 0, RESET, 0x16, 0, RESET, 0, RESET])
  })

  it('reset does nothing more if the car does not accept the stop', async t => {
    const { listening: module, driver, drove } = withClock(t)
    const { message } = (await setUp(module)) as Required<SetUp>
    driver.drive = () => Promise.reject(new Error('out of reach'))
    const reset = message('{"command": "reset"}', fakeClient(), { payload: '', at: 0 })
    await assert.rejects(Promise.resolve(reset), { message: 'out of reach' })
    assert.deepEqual(drove, [])
  })

  it('raw is the byte itself, up to direction 8; without direction or speed it stops', async t => {
    const { drove, say, pass } = await listening(t)
    for (const data of [0x16, 0x8f, 0x51]) await say({ command: 'raw', data })
    for (const data of [0, 0x0f, 0x10]) await say({ command: 'raw', data })
    assert.deepEqual(drove, [0x16, 0x8f, 0x51, 0, 0, 0])
    // It has already stopped.
    await pass(11_000)
    assert.equal(drove.length, 6)
  })

  const wrong = [
    ['up', 'a command is JSON, received "up"'],
    ['', 'a command is JSON, received ""'],
    [`"${'x'.repeat(100)}`, `a command is JSON, received "\\"${'x'.repeat(57)}…`],
    ['5', 'a command is an object such as {"command": "up"}, received 5'],
    ['null', 'a command is an object such as {"command": "up"}, received null'],
    ['["up"]', 'a command is an object such as {"command": "up"}, received ["up"]'],
    ['{}', 'command is missing: up, down, left, right, stop, reset or raw'],
    ['{"command": "jump"}', 'command takes up, down, left, right, stop, reset or raw, received "jump"'],
    [
      `{"command": ${'['.repeat(9999)}${']'.repeat(9999)}}`,
      'command takes up, down, left, right, stop, reset or raw, received an array',
    ],
    [
      `${'['.repeat(9999)}${']'.repeat(9999)}`,
      `a command is an object such as {"command": "up"}, received ${'['.repeat(60)}…`,
    ],
    ['{"command": {}}', 'command takes up, down, left, right, stop, reset or raw, received an object'],
    ['{"command": "up", "duration": 1e999}', 'duration takes seconds above 0, up to 10, received Infinity'],
    ['{"command": 1}', 'command takes up, down, left, right, stop, reset or raw, received 1'],
    ['{"command": "UP"}', 'command takes up, down, left, right, stop, reset or raw, received "UP"'],
    ['{"command": "up", "duration": "2"}', 'duration takes seconds above 0, up to 10, received "2"'],
    ['{"command": "up", "duration": 0}', 'duration takes seconds above 0, up to 10, received 0'],
    ['{"command": "up", "duration": -1}', 'duration takes seconds above 0, up to 10, received -1'],
    ['{"command": "up", "duration": 10.1}', 'duration takes seconds above 0, up to 10, received 10.1'],
    ['{"command": "up", "duration": null}', 'duration takes seconds above 0, up to 10, received null'],
    ['{"command": "raw"}', 'data is missing: a byte from 0 to 143 (0x8f), direction and speed'],
    ['{"command": "raw", "data": 144}', 'data takes a byte from 0 to 143 (0x8f), direction and speed, received 144'],
    ['{"command": "raw", "data": -1}', 'data takes a byte from 0 to 143 (0x8f), direction and speed, received -1'],
    ['{"command": "raw", "data": 1.5}', 'data takes a byte from 0 to 143 (0x8f), direction and speed, received 1.5'],
    ['{"command": "raw", "data": "22"}', 'data takes a byte from 0 to 143 (0x8f), direction and speed, received "22"'],
    ['{"command": "up", "data": 144}', 'data takes a byte from 0 to 143 (0x8f), direction and speed, received 144'],
    ['{"command": "up", "speed": 3}', '"speed" is none of command, duration, data'],
  ] as const
  for (const [text, error] of wrong) {
    it(`${text.slice(0, 50)} is invalid: the sender gets the reason, and the car stops`, async t => {
      const { drove, say } = await listening(t)
      await say({ command: 'up' })
      const client = fakeClient()
      await say(text, client)
      assert.deepEqual(client.sent, [JSON.stringify({ error })])
      assert.deepEqual(drove, [0x16, 0])
    })
  }

  it('is text: a binary message is invalid', async t => {
    const { drove, message } = await listening(t)
    const client = fakeClient()
    await message(Buffer.from('{"command": "up"}'), client, { payload: '', at: 0 })
    assert.deepEqual(client.sent, ['{"error":"a command is a string, received 17 binary bytes"}'])
    assert.deepEqual(drove, [0])
  })

  it('lasts for its duration', async t => {
    const { drove, say, pass } = await listening(t)
    await say({ command: 'up', duration: 1.5 })
    await pass(1480)
    assert.deepEqual(drove, [0x16])
    await pass(20)
    assert.deepEqual(drove, [0x16, 0])
    await pass(10_000)
    assert.deepEqual(drove, [0x16, 0])
  })

  it('without a duration lasts for --car-hold, which is also the maximum', async t => {
    const { drove, say, pass } = await listening(t, { 'car-hold': 2 })
    await say({ command: 'down' })
    await pass(1980)
    assert.deepEqual(drove, [0x26])
    await pass(20)
    assert.deepEqual(drove, [0x26, 0])
    const client = fakeClient()
    await say({ command: 'up', duration: 3 }, client)
    assert.deepEqual(client.sent, ['{"error":"duration takes seconds above 0, up to 2, received 3"}'])
  })

  it('ends the previous one of any client, with its duration', async t => {
    const { drove, say, pass } = await listening(t)
    await say({ command: 'up', duration: 0.5 })
    await say({ command: 'left', duration: 2 }, fakeClient({ id: 'other' }))
    await pass(1980)
    assert.deepEqual(drove, [0x16, 0x36])
    await pass(20)
    assert.deepEqual(drove, [0x16, 0x36, 0])
  })

  it('ends with the connection of its client only', async t => {
    const { drove, say, disconnect } = await listening(t)
    const [ann, bob] = [fakeClient({ id: 'ann' }), fakeClient({ id: 'bob' })]
    const lost = { code: 1006, reason: '', clean: false }
    await say({ command: 'up' }, ann)
    await say({ command: 'right' }, bob)
    await disconnect(ann, lost)
    assert.deepEqual(drove, [0x16, 0x46])
    await disconnect(bob, lost)
    assert.deepEqual(drove, [0x16, 0x46, 0])
    await disconnect(bob, lost)
    assert.deepEqual(drove, [0x16, 0x46, 0])
  })

  it('that the car refuses is an error; a stop is repeated until the car accepts it', async t => {
    const { listening: module, driver, drove, pass } = withClock(t)
    const { message } = (await setUp(module)) as Required<SetUp>
    const take = driver.drive
    driver.drive = () => Promise.reject(new Error('out of reach'))
    const up = message('{"command": "up", "duration": 0.1}', fakeClient(), { payload: '', at: 0 })
    await assert.rejects(Promise.resolve(up), { message: 'out of reach' })
    await pass(200)
    driver.drive = take
    await pass(200)
    assert.deepEqual(drove, [0])
  })

  it('is stopped again if the stop after it fails, even if an earlier one succeeded', async t => {
    const { listening: module, driver, drove, pass } = withClock(t)
    const { message } = (await setUp(module)) as Required<SetUp>
    const say = (command: string) => message(`{"command": "${command}"}`, fakeClient(), { payload: '', at: 0 })
    const answers: { taken(): void; lost(error: Error): void }[] = []
    const take = driver.drive
    await say('up')
    driver.drive = () => new Promise<void>((taken, lost) => answers.push({ taken, lost }))
    const said = ['stop', 'up', 'stop'].map(say)
    driver.drive = take
    const [stopped, drives, lost] = answers
    stopped!.taken()
    drives!.taken()
    lost!.lost(new Error('out of reach'))
    await assert.rejects(Promise.resolve(said[2]), { message: 'out of reach' })
    await pass(20)
    assert.deepEqual(drove, [0x16, 0])
  })

  it('ends with the server', async t => {
    const { drove, listening: module } = withClock(t)
    const { message, stop } = (await setUp(module)) as Required<SetUp>
    await message('{"command": "up"}', fakeClient(), { payload: '', at: 0 })
    await stop()
    assert.deepEqual(drove, [0x16, 0])
  })
})

describe('examples/car: viewers', () => {
  /** `MIDDLE` as it is sent. */
  const AT_START = { ...MIDDLE, heading: -1.571 }

  it('get their identity, the field and the car when they connect', async t => {
    const server = await testServer([withClock(t).moving])
    const ann = await server.connect()
    server.flush()
    assert.deepEqual(
      ann.received.map(String).map(text => JSON.parse(text)),
      [
        {
          you: ann.client.id,
          field: { width: 4, height: 2.5 },
          speed: 6,
          car: AT_START,
          driver: null,
        },
      ],
    )
    await server.stop()
  })

  for (const [state, ...steps] of [
    ['that stands in the middle'],
    ['that drives forward', [0x16, 500]],
    ['that drives backward in a curve', [0x7a, 700]],
    ['that has turned more than once', [0x3f, 5000]],
    ['that is at a wall', [0x1f, 3000]],
    ['that stands in a corner', [0x1f, 3000], [0x3f, 3000], [0, 1000]],
    ['of another driver', [0x4f, 300]],
  ] as const) {
    it(`get a car ${state} in the middle after a reset`, async t => {
      const { moving, pass } = withClock(t)
      const server = await testServer([moving])
      const [ann, bob] = [await server.connect(), await server.connect()]
      for (const [data, ms] of steps) {
        await ann.say(JSON.stringify({ command: 'raw', data }))
        await pass(ms)
      }
      await bob.say('{"command": "reset"}')
      await pass(1000)
      const carol = await server.connect()
      server.flush()
      const { car, driver } = JSON.parse(String(carol.received.at(-1)))
      assert.deepEqual({ car, driver }, { car: AT_START, driver: null })
      if (steps.length > 0) assert.deepEqual(JSON.parse(String(ann.received.at(-1))), { car: AT_START, driver: null })
      await server.stop()
    })
  }

  it('get the car 50 times a second while it moves and once when it stops', async t => {
    const { moving, pass } = withClock(t)
    const server = await testServer([moving])
    const [ann, bob] = [await server.connect(), await server.connect()]
    await pass(100)
    server.flush()
    const seen = bob.received.length
    await pass(5000)
    server.flush()
    assert.equal(bob.received.length, seen)
    await ann.say('{"command": "up", "duration": 1}')
    await pass(1000)
    server.flush()
    const states = () => bob.received.slice(seen).map(text => JSON.parse(text.toString()))
    assert.equal(states().length, 50)
    assert.deepEqual(new Set(states().map(({ driver }) => driver)), new Set([ann.client.id, null]))
    assert.equal(states().at(-1).driver, null)
    assert.ok(states().at(-1).car.y < 0.8, JSON.stringify(states().at(-1)))
    await pass(5000)
    server.flush()
    const rest = states().slice(50)
    // 0.6 m/s, less 0.06 per tick.
    assert.equal(rest.length, 10)
    assert.equal(rest.at(-1).car.speed, 0)
    assert.deepEqual(ann.received.slice(1), bob.received.slice(1))
    await server.stop()
  })

  it('get the car of their own server: two in one process have two', async t => {
    const filters = [join(CAR, 'car.ts')]
    const [one, two] = [await serve(t, { filters }), await serve(t, { filters })]
    const [ann, bob] = [await Peer.open(one.url), await Peer.open(two.url)]
    await Promise.all([ann.get(1), bob.get(1)])
    ann.send('{"command": "up"}')
    const last = () => JSON.parse(String(ann.received.at(-1))).car
    await until(() => last().y < 1, 'a car that moves')
    assert.deepEqual(
      bob.received.filter(text => JSON.parse(String(text)).car.y !== 1.25),
      [],
    )
  })
})

describe('examples/car: the model', () => {
  /** The state of a car after some seconds of each byte. */
  function after(...steps: readonly (readonly [byte: number, seconds: number])[]): CarState {
    const model = new Model()
    for (const [byte, seconds] of steps) {
      model.drive(byte)
      for (let step = 0; step < Math.round(seconds * 50); step++) model.advance(0.02)
    }
    return model.advance(0)
  }
  const near = (actual: number, expected: number, within = 0.02) =>
    assert.ok(Math.abs(actual - expected) <= within, `${actual} is not ${expected}`)

  it('starts in the middle and points up', () => assert.deepEqual(after([0, 1]), MIDDLE))

  it('drives forward and backward, faster with a higher speed nibble', () => {
    const slow = after([0x11, 0.5])
    const middle = after([0x16, 0.5])
    const fast = after([0x1f, 0.5])
    near(slow.speed, 0.1, 1e-9)
    near(middle.speed, 0.6, 1e-9)
    near(fast.speed, 1.5, 1e-9)
    assert.ok(slow.y > middle.y && middle.y > fast.y)
    near(middle.x, 2, 1e-9)
    near(after([0x26, 0.5]).y, 2.5 - middle.y, 1e-9)
  })

  it('turns with its wheels: left and right to the stop, diagonals half', () => {
    const turned = (byte: number) => after([byte, 0.5]).heading + Math.PI / 2
    assert.ok(turned(0x36) < turned(0x56) && turned(0x56) < 0)
    for (const [left, right] of [
      [0x36, 0x46],
      [0x56, 0x66],
      [0x76, 0x86],
    ] as const)
      near(turned(left), -turned(right), 1e-9)
    // In reverse its front turns the other way.
    assert.ok(turned(0x76) > 0)
    assert.ok(after([0x76, 0.5]).y > 1.25)
  })

  it('stops with straight wheels', () => {
    const { speed, wheel } = after([0x4f, 1], [0, 1])
    assert.deepEqual([speed, wheel], [0, 0])
  })

  it('stays on the field and has no speed at a wall', () => {
    for (const [byte, axis, edge] of [
      [0x1f, 'y', 0.2],
      [0x2f, 'y', FIELD.height - 0.2],
    ] as const) {
      const state = after([byte, 5])
      near(state[axis], edge, 1e-9)
      near(state.speed, 0, 1e-9)
    }
    const model = new Model()
    for (let step = 0; step < 5000; step++) {
      model.drive((((step >> 4) % 9) << 4) | 0xf)
      const { x, y } = model.advance(0.02)
      assert.ok(x >= 0.2 && x <= FIELD.width - 0.2 && y >= 0.2 && y <= FIELD.height - 0.2, `${x} ${y}`)
    }
  })

  it('drives away from a wall', () => assert.ok(after([0x1f, 3], [0x2f, 1]).y > 0.8))

  for (const [where, isAtWall, ...steps] of [
    ['at its start', false],
    ['on its way', false, [0x1f, 0.3]],
    ['at the upper wall', true, [0x1f, 3]],
    ['at the lower wall', true, [0x2f, 3]],
    ['at the left wall', true, [0x3f, 0.42], [0x1f, 5]],
    ['at the right wall', true, [0x4f, 0.42], [0x1f, 5]],
    ['in a corner', true, [0x1f, 3], [0x3f, 3], [0x1f, 3]],
    ['at a wall, at rest', true, [0x1f, 3], [0, 2]],
    ['away from a wall', false, [0x1f, 3], [0x2f, 0.5]],
  ] as const)
    it(`says ${isAtWall ? '' : 'not '}that it is at a wall: ${where}`, () =>
      assert.equal(after(...steps).isAtWall, isAtWall))

  it('catches up at most a tenth of a second, and ignores a clock that is set back', () => {
    const model = new Model()
    model.drive(0x1f)
    const late = model.advance(60)
    assert.deepEqual(late, after([0x1f, 0.1]))
    assert.deepEqual(model.advance(-60), late)
  })

  it('does not depend on the length of the steps', () => {
    const model = new Model()
    model.drive(0x5a)
    for (let ms = 0; ms < 1000; ms += 4) model.advance(0.004)
    near(model.advance(0).x, after([0x5a, 1]).x, 1e-9)
  })
})

describe('examples/car: its README', () => {
  const readme = readFileSync(join(CAR, 'README.md'), 'utf8')

  /** Drives forward briefly, with the complete program. */
  async function drive(url: string): Promise<void> {
    const ann = await Peer.open(url)
    ann.send('{"command": "raw", "data": 22, "duration": 0.2}')
    await until(() => {
      const { car, driver } = JSON.parse(String(ann.received.at(-1) ?? '{"car":{}}'))
      return car.y < MIDDLE.y && car.speed === 0 && driver === null
    }, 'the end of a drive')
    ann.ws.terminate()
  }

  const commands = [...readme.matchAll(/^npx fws-server (.*)$/gm)].map(([, words]) => words!)
  for (const words of commands.filter(command => !command.includes('my-car'))) {
    it(`fws-server ${words} serves the page and the car`, async t => {
      const { url } = await launch(t, [...words.split(' '), '-p', '0'])
      const page = await fetch(url.replace('ws:', 'http:'))
      assert.equal(page.status, 200)
      assert.match(await page.text(), /<title>Car<\/title>/)
      await drive(url)
    })
  }

  it('its driver of a real car writes each byte to the device', async t => {
    const dir = folder(t)
    const port = join(dir, 'port')
    cpSync(CAR, join(dir, 'car'), { recursive: true })
    symlinkSync(join(root, 'node_modules'), join(dir, 'node_modules'))
    const [, example] = /^```ts\n(\/\/ my-car\.ts[\s\S]*?)^```$/m.exec(readme)!
    writeFileSync(join(dir, 'car/my-car.ts'), example!.replace('/dev/rfcomm0', port))
    const { url } = await launch(t, ['-f', join(dir, 'car/my-car.ts'), '-p', '0'])
    await drive(url)
    assert.deepEqual([...readFileSync(port)], [0x16, 0])
  })
})
