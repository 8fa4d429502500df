import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { pino } from 'pino'
import { ErrorReport } from '../../src/chain/report.ts'
import { createCounters } from '../../src/fanout/counters.ts'
import { collectedLog } from '../support/log.ts'

function reporting() {
  const counters = createCounters()
  const { log, logged: lines } = collectedLog()
  return { report: new ErrorReport(log, counters), counters, lines }
}

const ERROR_LEVEL = 50

describe('error report', () => {
  it('logs filter, chain, client and error', () => {
    const { report, lines } = reporting()
    report.add(new TypeError('no such thing'), { filter: './words.ts', chain: 'message', id: 'client-1' })
    assert.equal(lines.length, 1)
    const { level, msg, filter, chain, id, err } = lines[0] as Record<string, unknown> & { err: Error }
    assert.deepEqual(
      { level, msg, filter, chain, id, type: (err as unknown as { type: string }).type, message: err.message },
      {
        level: ERROR_LEVEL,
        msg: 'filter ./words.ts failed in its message handler',
        filter: './words.ts',
        chain: 'message',
        id: 'client-1',
        type: 'TypeError',
        message: 'no such thing',
      },
    )
    assert.match(String(err.stack), /report\.test\.ts/)
  })

  it('counts every error', () => {
    const { report, counters } = reporting()
    for (let i = 0; i < 20; i++) report.add(new Error('x'), { filter: 'a', chain: 'message' })
    assert.equal(counters.errors, 20)
  })

  it('accepts any thrown value', () => {
    const { report, counters, lines } = reporting()
    for (const thrown of ['text', undefined, null, 7, { code: 1 }, Symbol('s')])
      report.add(thrown, { filter: String(counters.errors), chain: 'message' })
    assert.equal(counters.errors, 6)
    assert.equal(lines.length, 6)
  })

  it('logs five errors per second of one filter and chain, then the number of suppressed ones', t => {
    t.mock.timers.enable({ apis: ['Date'], now: 1_000_000_000_000 })
    const { report, lines } = reporting()
    const where = { filter: 'noisy', chain: 'message', id: 'c' }
    for (let i = 0; i < 12; i++) report.add(new Error(`error ${i}`), where)
    assert.equal(lines.length, 5)
    t.mock.timers.tick(1000)
    report.add(new Error('another'), where)
    assert.equal(lines.length, 7)
    assert.deepEqual(
      [lines[5]!.msg, lines[5]!.filter, lines[5]!.chain, lines[5]!.suppressed],
      ['more errors of the same filter', 'noisy', 'message', 7],
    )
    assert.equal(lines[6]!.msg, 'filter noisy failed in its message handler')
  })

  it('limits each filter and chain separately', t => {
    t.mock.timers.enable({ apis: ['Date'], now: 1_000_000_000_000 })
    const { report, lines } = reporting()
    for (let i = 0; i < 9; i++) report.add(new Error('x'), { filter: 'noisy', chain: 'message' })
    report.add(new Error('x'), { filter: 'noisy', chain: 'open' })
    report.add(new Error('x'), { filter: 'quiet', chain: 'message' })
    assert.deepEqual(
      lines.slice(5).map(line => line.msg),
      ['filter noisy failed in its open handler', 'filter quiet failed in its message handler'],
    )
  })

  it('accepts an error that throws when it is serialized', () => {
    const lines: string[] = []
    const log = pino({ base: null }, { write: line => void lines.push(line) })
    const report = new ErrorReport(log, createCounters())
    const nasty = {
      get message() {
        throw new Error('looked at')
      },
    }
    report.add(nasty, { filter: 'nasty', chain: 'message' })
    assert.match(lines.join(''), /filter nasty failed in its message handler, with an error that cannot be shown/)
  })
})
