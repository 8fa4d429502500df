import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import { Heartbeat, type Pinged } from '../../src/kit/heartbeat.ts'

const INTERVAL = 1000
/** Bytes that extend the time of a peer by an interval. */
const EXTENSION = 4096
/** Bytes of a ping. */
const PING = 1

class Fake implements Pinged {
  bytesIn = 0
  bytesOut = 0
  isReadPaused = false
  pings = 0
  isEnded = false

  ping(): void {
    this.pings++
    this.bytesOut += PING
  }

  terminate(): void {
    this.isEnded = true
  }
}

/** A heartbeat whose intervals pass on demand. */
function heartbeatOf(t: TestContext) {
  t.mock.timers.enable({ apis: ['setInterval'] })
  const heartbeat = new Heartbeat<Fake>(INTERVAL)
  t.after(() => heartbeat.stop())
  return {
    heartbeat,
    async interval(): Promise<void> {
      for (let part = 0; part < 16; part++) {
        t.mock.timers.tick(INTERVAL / 16 + 0.001)
        await nextTurn()
        await nextTurn()
      }
    },
  }
}

/** @param act - what happens before each check, counted from 1. */
async function checksOf(t: TestContext, act: (fake: Fake, check: number) => void, max = 400): Promise<number> {
  const { heartbeat, interval } = heartbeatOf(t)
  const fake = new Fake()
  heartbeat.add(fake)
  let check = 0
  while (!fake.isEnded && check < max) {
    act(fake, ++check)
    await interval()
  }
  return check
}

describe('a heartbeat', () => {
  for (const [what, act, expected] of [
    ['is silent', () => {}, 2],
    [
      'was silent after a byte',
      (fake, check) => {
        if (check <= 3) fake.bytesIn++
      },
      4,
    ],
    [
      'got a large message before its first ping',
      (fake, check) => {
        if (check === 1) fake.bytesOut += 2 * EXTENSION
      },
      4,
    ],
    [
      'got a large message after its first ping',
      (fake, check) => {
        if (check === 2) fake.bytesOut += 2 * EXTENSION
      },
      4,
    ],
    [
      'got a large message and answered once',
      (fake, check) => {
        if (check === 2) fake.bytesOut += 10 * EXTENSION
        if (check === 4) fake.bytesIn++
      },
      5,
    ],
    [
      'got 1 GiB',
      (fake, check) => {
        if (check === 2) fake.bytesOut += 2 ** 30
      },
      302,
    ],
    [
      'reads less than the slowest line',
      fake => {
        fake.bytesOut += EXTENSION / 2
      },
      4,
    ],
    [
      'gets small messages',
      fake => {
        fake.bytesOut += EXTENSION / 32
      },
      2,
    ],
    [
      'was held and is silent',
      (fake, check) => {
        fake.isReadPaused = check > 1 && check < 10
      },
      11,
    ],
    [
      'was held with bytes from before',
      (fake, check) => {
        fake.isReadPaused = check < 10
        if (check < 10) fake.bytesIn++
      },
      11,
    ],
  ] as const satisfies readonly (readonly [string, (fake: Fake, check: number) => void, number])[])
    it(`terminates a peer that ${what} at check ${expected}`, async t => {
      assert.equal(await checksOf(t, act), expected)
    })

  for (const [what, act] of [
    ['answers', fake => void fake.bytesIn++],
    [
      'sends much',
      fake => {
        fake.bytesIn += 1e10
      },
    ],
    [
      'reads a long message on the slowest line',
      fake => {
        fake.bytesOut += EXTENSION
      },
    ],
    [
      'reads fast',
      fake => {
        fake.bytesOut += 1e9
      },
    ],
    [
      'reads in lumps, as the window of TCP opens',
      (fake, check) => {
        if (check % 5 === 1) fake.bytesOut += 5 * EXTENSION
      },
    ],
    [
      'is held',
      fake => {
        fake.isReadPaused = true
      },
    ],
    [
      'is held every other time',
      (fake, check) => {
        fake.isReadPaused = check % 2 === 0
      },
    ],
  ] as const satisfies readonly (readonly [string, (fake: Fake, check: number) => void])[])
    it(`keeps a peer that ${what}`, async t => {
      assert.equal(await checksOf(t, act, 30), 30)
    })

  it('pings each connection once per interval, without one that is held', async t => {
    const { heartbeat, interval } = heartbeatOf(t)
    const fakes = Array.from({ length: 100 }, () => new Fake())
    for (const fake of fakes) heartbeat.add(fake)
    fakes[7]!.isReadPaused = true
    for (let check = 1; check <= 3; check++) {
      for (const fake of fakes) fake.bytesIn++
      await interval()
      assert.deepEqual([...new Set(fakes.map(({ pings }) => pings))], [check, 0])
    }
  })

  it('leaves alone connections that were removed, and all after the stop', async t => {
    const { heartbeat, interval } = heartbeatOf(t)
    const [removed, kept] = [new Fake(), new Fake()]
    heartbeat.add(removed)
    heartbeat.add(kept)
    heartbeat.remove(removed)
    heartbeat.remove(new Fake())
    await interval()
    heartbeat.stop()
    await interval()
    assert.deepEqual([removed.pings, kept.pings, kept.isEnded], [0, 1, false])
  })

  it('terminates once, also a connection that is not removed afterwards', async t => {
    const { heartbeat, interval } = heartbeatOf(t)
    const fake = new Fake()
    let ends = 0
    fake.terminate = () => void ends++
    heartbeat.add(fake)
    for (let check = 0; check < 5; check++) await interval()
    assert.deepEqual([ends, fake.pings], [1, 1])
  })

  it('is disabled by 0', async t => {
    t.mock.timers.enable({ apis: ['setInterval'] })
    const heartbeat = new Heartbeat<Fake>(0)
    const fake = new Fake()
    heartbeat.add(fake)
    t.mock.timers.tick(INTERVAL)
    await nextTurn()
    heartbeat.remove(fake)
    heartbeat.stop()
    assert.equal(fake.pings, 0)
  })
})
