import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { formatEndpoint, isHostname, isPort, parseEndpoint } from '../../src/kit/index.ts'

describe('parseEndpoint', () => {
  const valid: readonly (readonly [value: string, host: string, port: number])[] = [
    ['127.0.0.1:1', '127.0.0.1', 1],
    ['[::1]:65535', '::1', 65_535],
    ['[::1]', '::1', 123],
    ['pool.example', 'pool.example', 123],
    ['pool.example.:80', 'pool.example.', 80],
    ['a_b-c:80', 'a_b-c', 80],
  ]
  for (const [value, host, port] of valid)
    it(`parses ${value}, and formats it`, () => {
      assert.deepEqual(parseEndpoint('--x', value, 123), { host, port })
      assert.deepEqual(parseEndpoint('--x', formatEndpoint({ host, port })), { host, port })
    })

  for (const value of ['', ':80', 'a:', 'a:0', 'a:65536', 'a:1a', 'a b:1', '::1', '[a]:1', '[::1', 'a/b', 'a:1:2'])
    it(`refuses ${JSON.stringify(value)}`, () => {
      const received = `received ${JSON.stringify(value)}`
      assert.throws(() => parseEndpoint('--x', value), { code: 'ERR_OPTION', message: `--x is HOST:PORT, ${received}` })
      assert.throws(() => parseEndpoint('--x', value, 123), {
        code: 'ERR_OPTION',
        message: `--x is HOST or HOST:PORT, ${received}`,
      })
    })

  it('needs a port that has no default', () => {
    assert.throws(() => parseEndpoint('--x', 'a'), { code: 'ERR_OPTION', message: '--x is HOST:PORT, received "a"' })
  })
})

it('isHostname accepts addresses and names of up to 253 characters', () => {
  for (const value of ['10.0.0.1', '::1', 'a', 'a.b.', 'x'.repeat(253)]) assert.equal(isHostname(value), true, value)
  for (const value of ['', '.', 'a..b', '[::1]', 'a:1', 'a;b', 'é', 'x'.repeat(254)])
    assert.equal(isHostname(value), false, value)
})

it('isPort accepts 1 to 65,535', () => {
  assert.deepEqual([1, 65_535, 0, -1, 65_536, 1.5, Number.NaN].map(isPort), [
    true,
    true,
    false,
    false,
    false,
    false,
    false,
  ])
})
