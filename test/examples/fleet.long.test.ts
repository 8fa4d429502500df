import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Flight } from '../../examples/fleet/copter/flight.ts'
import { FIELD, readPath } from '../../examples/fleet/copter/path.ts'
import { Launched } from '../support/cli.ts'
import { SAMPLES, sample } from '../support/fleet.ts'
import { until } from '../support/peer.ts'

describe('examples/fleet: a path', () => {
  const file = (...lines: string[]) => ['t,x,y,z', ...lines].join('\n')
  const refused = (message: string) => (error: Error & { code?: string }) => {
    assert.deepEqual([error.message, error.code], [message, 'path'])
    return true
  }

  it('gives the position at each time, lap after lap', () => {
    const path = readPath(file('0,1,1,1', '2,3,1,1', '4,3,2,3\r', ''))
    assert.equal(path.seconds, 4)
    assert.deepEqual(path.points[1], { x: 3, y: 1, z: 1 })
    assert.deepEqual([0, 1, 2, 3, 5].map(path.at), [
      { x: 1, y: 1, z: 1 },
      { x: 2, y: 1, z: 1 },
      { x: 3, y: 1, z: 1 },
      { x: 3, y: 1.5, z: 2 },
      { x: 2, y: 1, z: 1 },
    ])
  })

  for (const [text, message] of [
    ['', 'line 1: a path begins with "t,x,y,z", received ""'],
    [`<html>${'x'.repeat(99)}`, 'line 1: a path begins with "t,x,y,z", received "<html>xxxxxxxxxxxxxx…"'],
    [file('0,1,1,1'), 'line 2: a path has at least two points'],
    [file('0,1,1,1', '1,1,1'), 'line 3: a point is t,x,y,z, received "1,1,1"'],
    [file('0,1,1,1', '1,1,one,1'), 'line 3: y is a number from 0 to 8 m, received "one"'],
    [file('0,1,1,1', '-1,1,1,1'), 'line 3: t is a number from 0 to 3600 s, received "-1"'],
    [file('0,1,1,1', '1,,1,1'), 'line 3: x is a number from 0 to 12 m, received ""'],
    [file('0,1,1,1', '1,1,1,9'), 'line 3: z is a number from 0.5 to 4 m, received "9"'],
    [file('1,1,1,1', '2,1,1,1'), 'line 2: t begins at 0 s, received 1 s'],
    [file('0,1,1,1', '1,1,1,1', '1,2,1,1'), 'line 4: t increases, received 1 s after 1 s'],
    [file('0,1,1,1', '1,9,1,1'), 'line 3: 8.0 m/s are needed, a copter flies at most 2.5 m/s'],
    [file(...Array(10_001).fill('0,1,1,1')), 'line 10002: a path has at most 10000 points'],
  ] as const)
    it(`is refused: ${message}`, () => assert.throws(() => readPath(text), refused(message)))
})

describe('examples/fleet: a copter', () => {
  const pathOf = (name: string) => readPath(sample(name))
  const refused = (message: string) => ({ message, code: 'refused' })
  const ready = (share = 0, battery = 100) => {
    const flight = new Flight(share, battery)
    flight.load(pathOf('circle.csv'))
    flight.arm()
    return flight
  }
  function fly(flight: Flight, seconds: number) {
    for (let passed = 0; passed < seconds; passed += 0.5) flight.advance(0.5)
    return flight.state
  }

  it('refuses commands unless it is armed, and does not arm with a low battery', () => {
    const flight = new Flight(0, 29.5)
    assert.throws(() => flight.start(), refused('not armed'))
    assert.throws(() => flight.takeoff(), refused('not armed'))
    assert.throws(() => flight.arm(), refused('battery at 29 %, at least 30 % are needed'))
    assert.deepEqual(flight.faults, ['battery at 29 %, at least 30 % are needed'])
    fly(flight, 5)
    flight.arm()
    assert.throws(() => flight.start(), refused('no path'))
  })

  it('takes off, hovers, lands and disarms', () => {
    const flight = ready()
    flight.takeoff()
    assert.equal(fly(flight, 0.5).mode, 'taking off')
    assert.throws(() => flight.disarm(), refused('in flight'))
    const { mode, position } = fly(flight, 4)
    assert.equal(mode, 'hovering')
    assert.ok(Math.abs(position.z - 1.5) < 0.01, `${position.z}`)
    flight.land()
    assert.equal(fly(flight, 0.5).mode, 'landing')
    const landed = fly(flight, 3)
    assert.deepEqual([landed.mode, landed.armed, landed.position.z], ['on the ground', false, 0])
  })

  it('flies its path, pauses in place, and continues from there', () => {
    const flight = ready()
    const path = pathOf('circle.csv')
    flight.start()
    const { position } = fly(flight, 12)
    const target = path.at(12)
    assert.ok(Math.hypot(position.x - target.x, position.y - target.y, position.z - target.z) < 0.05)
    flight.pause()
    const paused = fly(flight, 1)
    assert.deepEqual(fly(flight, 5).position, paused.position)
    assert.equal(paused.mode, 'paused')
    flight.start()
    assert.ok(fly(flight, 2).position.y < paused.position.y)
  })

  it('lands when its battery is low', () => {
    const flight = ready(0, 30)
    flight.start()
    const { mode, battery } = fly(flight, 140)
    assert.equal(mode, 'on the ground')
    assert.ok(battery > 14, `${battery}`)
  })

  for (const name of SAMPLES)
    it(`keeps its distance from nine others on ${name}`, () => {
      const fleet = Array.from({ length: 10 }, (_, i) => new Flight(i / 10))
      for (const flight of fleet) {
        flight.load(pathOf(name))
        flight.arm()
        flight.start()
      }
      for (const flight of fleet) fly(flight, 15)
      for (let seconds = 0; seconds < 40; seconds += 0.2) {
        const places = fleet.map(flight => {
          flight.advance(0.2)
          return flight.state.position
        })
        for (const [i, { x, y, z }] of places.entries()) {
          assert.ok(x > 0 && x < FIELD.width && y > 0 && y < FIELD.depth && z < FIELD.highest)
          for (const other of places.slice(0, i))
            assert.ok(Math.hypot(x - other.x, y - other.y, z - other.z) > 1.2, `${seconds} s`)
        }
      }
    })
})

it('examples/fleet leaves no copter behind when its server is killed while they start', {
  timeout: 120_000,
}, async () => {
  const argv = ['-c', 'examples/fleet/config.json', '-p', '0', '--messaging-port', '0']
  const server = new Launched(argv, {})
  await until(() => server.listening(), 'a server')
  // Settles when the last process that has its standard error has ended.
  await server.kill()
})
