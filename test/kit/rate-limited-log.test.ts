import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { pino } from 'pino'
import { LogLimit, RateLimitedLog } from '../../src/kit/rate-limited-log.ts'

describe('LogLimit', () => {
  it('allows a number of lines per window and kind, and counts the suppressed ones', t => {
    t.mock.timers.enable({ apis: ['Date'], now: 1_000_000_000_000 })
    const limit = new LogLimit(2, 60_000)
    const take = () => limit.take('a')
    assert.deepEqual(
      [take(), take(), take(), take()].map(({ isOver }) => isOver),
      [false, false, true, true],
    )
    assert.deepEqual(limit.take('b'), { isOver: false, suppressed: 0 })
    t.mock.timers.tick(60_000)
    assert.deepEqual(
      [take(), take()],
      [
        { isOver: false, suppressed: 2 },
        { isOver: false, suppressed: 0 },
      ],
    )
  })
})

describe('a rate-limited log', () => {
  for (const [name, lines, seconds, expected] of [
    ['all lines within the limit', 5, [0, 0, 0, 0, 0], ['0', '0', '0', '0', '0']],
    ['no line past the limit', 2, [0, 0, 0, 0], ['0', '0']],
    ['how many lines were suppressed, with the next line', 2, [0, 0, 0, 0, 1], ['0', '0', '1 suppressed 2']],
    ['that number once', 1, [0, 0, 1, 2], ['0', '1 suppressed 1', '2']],
    ['that number after a pause', 1, [0, 0, 0, 9], ['0', '9 suppressed 2']],
    ['lines of each second', 1, [0, 1, 2, 2], ['0', '1', '2']],
  ] as const)
    it(`has ${name}`, t => {
      t.mock.timers.enable({ apis: ['Date'], now: 1_000_000_000_000 })
      const written: string[] = []
      const write = (line: string) => {
        const { second, suppressed, msg, level } = JSON.parse(line)
        assert.deepEqual([msg, level], ['peer refused', 40])
        written.push(suppressed === undefined ? `${second}` : `${second} suppressed ${suppressed}`)
      }
      const log = new RateLimitedLog(pino({ base: null }, { write }), lines)
      let now = 0
      for (const second of seconds) {
        t.mock.timers.tick((second - now) * 1000)
        now = second
        log.add('warn', { second }, 'peer refused')
      }
      assert.deepEqual(written, expected)
    })

  it('counts warnings and errors apart', () => {
    const written: string[] = []
    const write = (line: string) => void written.push(JSON.parse(line).msg)
    const log = new RateLimitedLog(pino({}, { write }), 1, 1e15)
    for (const level of ['warn', 'warn', 'error', 'error'] as const) log.add(level, {}, level)
    assert.deepEqual(written, ['warn', 'error'])
  })

  it('counts lines of each kind apart', () => {
    const written: string[] = []
    const log = new RateLimitedLog(
      pino({}, { write: (line: string) => void written.push(JSON.parse(line).msg) }),
      1,
      1e15,
    )
    for (const kind of ['a', 'b', 'a', 'b', undefined, undefined]) log.add('error', {}, `kind ${kind}`, kind)
    assert.deepEqual(written, ['kind a', 'kind b', 'kind undefined'])
  })
})
