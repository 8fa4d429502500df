import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { nearest, suggest } from '../../src/config/nearest.ts'

const NAMES = ['broadcast', 'broadcast-by-token', 'echo', 'log', 'rate-limit', 'stdout-messages']

describe('nearest', () => {
  for (const [mistyped, meant] of [
    ['brodcast', 'broadcast'],
    ['broadcasst', 'broadcast'],
    ['broadcasd', 'broadcast'],
    ['boradcast', 'broadcast'],
    ['ehco', 'echo'],
    ['lgo', 'log'],
    ['ratelimit', 'rate-limit'],
    ['stdout_message', 'stdout-messages'],
  ] as const) {
    it(`takes ${mistyped} for ${meant}`, () => {
      assert.equal(nearest(mistyped, NAMES), meant)
    })
  }

  it('counts neighbours in the wrong order as one mistake', () => {
    assert.equal(nearest('ab', ['ba']), 'ba')
    assert.equal(nearest('abc', ['bca']), undefined)
  })

  it('does not mind the case', () => {
    assert.equal(nearest('ECHO', NAMES), 'echo')
  })

  it('answers nothing when no candidate is close', () => {
    assert.equal(nearest('wslink', NAMES), undefined)
    assert.equal(nearest('echo', []), undefined)
  })

  it('lets a long word have more mistakes than a short one', () => {
    assert.equal(nearest('stduot-mesages', NAMES), 'stdout-messages')
    assert.equal(nearest('lxx', NAMES), undefined)
  })

  it('prefers the closest, and of several equally close the first', () => {
    assert.equal(nearest('parts', ['ports', 'part', 'parts']), 'parts')
    assert.equal(nearest('port', ['part', 'pork']), 'part')
  })

  it('takes any iterable', () => {
    assert.equal(nearest('ech', new Map([['echo', 1]]).keys()), 'echo')
  })
})

describe('suggest', () => {
  it('asks whether the nearest name was meant', () => {
    assert.equal(suggest('ehco', NAMES), '; did you mean "echo"?')
  })

  it('shows the name as it would be typed', () => {
    assert.equal(
      suggest('prot', ['port'], name => `--${name}`),
      '; did you mean --port?',
    )
  })

  it('is empty when nothing is close', () => {
    assert.equal(suggest('wslink', NAMES), '')
  })
})
