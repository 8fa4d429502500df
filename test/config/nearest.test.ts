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
    it(`finds ${meant} for ${mistyped}`, () => {
      assert.equal(nearest(mistyped, NAMES), meant)
    })
  }

  it('counts a transposition as one edit', () => {
    assert.equal(nearest('ab', ['ba']), 'ba')
    assert.equal(nearest('abc', ['bca']), undefined)
  })

  it('is case-insensitive', () => {
    assert.equal(nearest('ECHO', NAMES), 'echo')
  })

  it('returns undefined when no candidate is close', () => {
    assert.equal(nearest('wslink', NAMES), undefined)
    assert.equal(nearest('echo', []), undefined)
  })

  it('allows more edits in a long word than in a short one', () => {
    assert.equal(nearest('stduot-mesages', NAMES), 'stdout-messages')
    assert.equal(nearest('lxx', NAMES), undefined)
  })

  it('prefers the closest, and of several equally close the first', () => {
    assert.equal(nearest('parts', ['ports', 'part', 'parts']), 'parts')
    assert.equal(nearest('port', ['part', 'pork']), 'part')
  })

  it('accepts any iterable', () => {
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

  it('is empty when no name is close', () => {
    assert.equal(suggest('wslink', NAMES), '')
  })
})
