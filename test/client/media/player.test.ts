import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { openPlayer } from '../../../client/media/player.ts'

/** An AudioContext with a clock that the test sets. It records what is scheduled. */
class FakeContext {
  state = 'running'
  currentTime = 0
  readonly destination = {}
  readonly started: { from: number; to: number; data: readonly Float32Array[] }[] = []
  /** Scheduled changes of the gain. */
  edges: { at: number; value: number; how: 'set' | 'ramp' }[] = []

  createGain() {
    return {
      connect: () => {},
      gain: {
        setValueAtTime: (value: number, at: number) => void this.edges.push({ at, value, how: 'set' }),
        linearRampToValueAtTime: (value: number, at: number) => void this.edges.push({ at, value, how: 'ramp' }),
        cancelScheduledValues: (from: number) => {
          this.edges = this.edges.filter(({ at }) => at < from)
        },
      },
    }
  }

  createBuffer(channels: number, length: number, rate: number) {
    // The bounds of Chromium.
    if (rate < 3000 || rate > 768_000 || channels > 32) throw new DOMException('out of range', 'NotSupportedError')
    const data = Array.from({ length: channels }, () => new Float32Array(length))
    return { duration: length / rate, data, getChannelData: (channel: number) => data[channel] }
  }

  createBufferSource() {
    const source = {
      buffer: undefined as ReturnType<FakeContext['createBuffer']> | undefined,
      connect: () => {},
      start: (from: number) => {
        const { duration, data } = source.buffer!
        this.started.push({ from, to: from + duration, data })
      },
    }
    return source
  }

  async resume() {}

  async close() {
    this.state = 'closed'
  }
}

/** A player with a fake context. */
function play(t: TestContext, options = {}) {
  const context = new FakeContext()
  const global = globalThis as { AudioContext?: unknown }
  const before = global.AudioContext
  global.AudioContext = function fake() {
    return context
  }
  t.after(() => {
    global.AudioContext = before
  })
  return { context, player: openPlayer(options) }
}

/** 40 ms. */
const piece = { payload: new Int16Array(1920), rate: 48_000, channels: 1 }
const ms = (seconds: number) => Math.round(seconds * 1e6) / 1e3

describe('a player', () => {
  it('plays samples without a gap if they arrive in time', t => {
    const { context, player } = play(t)
    for (const now of [0, 0.01, 0.01, 0.15]) {
      context.currentTime = now
      assert.equal(player.play(piece), true)
    }
    assert.deepEqual(
      context.started.map(({ from, to }) => [ms(from), ms(to)]),
      [
        [120, 160],
        [160, 200],
        [200, 240],
        [240, 280],
      ],
    )
    assert.equal(ms(player.queued), 130)
  })

  it('drops samples that the browser does not support, and continues', t => {
    const { context, player } = play(t)
    assert.equal(player.play({ ...piece, rate: 1 }), false)
    assert.equal(player.play({ ...piece, rate: 8000, channels: 64 }), false)
    assert.equal(player.play(piece), true)
    assert.deepEqual(
      context.started.map(({ from, to }) => [ms(from), ms(to)]),
      [[120, 160]],
    )
  })

  it('fades in once and out once if there is no silence', t => {
    const { context, player } = play(t)
    for (let count = 0; count < 3; count++) player.play(piece)
    assert.deepEqual(
      context.edges.map(({ at, value, how }) => [how, value, ms(at)]),
      [
        ['set', 0, 120],
        ['ramp', 1, 125],
        ['set', 1, 235],
        ['ramp', 0, 240],
      ],
    )
  })

  it('delays sound after a silence, and fades before and after it', t => {
    const { context, player } = play(t)
    player.play(piece)
    context.currentTime = 0.158
    player.play(piece)
    assert.deepEqual(
      context.started.map(({ from }) => ms(from)),
      [120, 278],
    )
    assert.deepEqual(
      context.edges.map(({ at, value }) => [value, ms(at)]),
      [
        [0, 120],
        [1, 125],
        [1, 155],
        [0, 160],
        [0, 278],
        [1, 283],
        [1, 313],
        [0, 318],
      ],
    )
  })

  it('separates channels, and uses the rate of the samples', t => {
    const { context, player } = play(t)
    player.play({ payload: Int16Array.of(16_384, -32_768, 0, 8192), rate: 8000, channels: 2 })
    const [{ from, to, data }] = context.started as [(typeof context.started)[number]]
    assert.equal(ms(to - from), 0.25)
    assert.deepEqual(data, [Float32Array.of(0.5, 0), Float32Array.of(-1, 0.25)])
  })

  it('drops samples beyond the limit, empty ones, and those while it is suspended', t => {
    const { context, player } = play(t, { maxQueued: 0.2 })
    const results = Array.from({ length: 6 }, () => player.play(piece))
    assert.deepEqual(results, [true, true, true, false, false, false])
    assert.equal(player.play({ ...piece, payload: new Int16Array() }), false)
    context.currentTime = 10
    context.state = 'suspended'
    assert.deepEqual([player.isPlaying, player.play(piece)], [false, false])
    context.state = 'running'
    assert.equal(player.play(piece), true)
  })

  it('stops once, and by its signal', async t => {
    const stop = new AbortController()
    const { context, player } = play(t, { signal: stop.signal })
    stop.abort()
    await player.closed
    player.stop()
    assert.equal(context.state, 'closed')
    assert.equal(player.play(piece), false)
    const late = play(t, { signal: stop.signal })
    assert.equal(late.context.state, 'closed')
  })
})
