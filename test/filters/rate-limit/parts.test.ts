import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Addresses } from '../../../filters/rate-limit/addresses.ts'
import { Bucket } from '../../../filters/rate-limit/bucket.ts'
import { networkOf } from '../../../filters/rate-limit/network.ts'

const NOW = Date.UTC(2026, 0, 1)

describe('networkOf', () => {
  for (const [address, network] of [
    ['1.2.3.4', '1.2.3.4'],
    ['::ffff:1.2.3.4', '1.2.3.4'],
    ['2001:db8:1:2:3:4:5:6', '2001:db8:1:2::/64'],
    ['2001:db8:1:2::6', '2001:db8:1:2::/64'],
    ['2001:DB8:0001:2::', '2001:db8:1:2::/64'],
    ['2001:db8::6', '2001:db8:0:0::/64'],
    ['2001:db8::1:2:3:4:5', '2001:db8:0:1::/64'],
    ['::1', '0:0:0:0::/64'],
    ['::', '0:0:0:0::/64'],
    ['1::', '1:0:0:0::/64'],
    ['fe80::1%eth0', 'fe80:0:0:0::/64'],
    ['64:ff9b::1.2.3.4', '1.2.3.4'],
    ['64:FF9B::102:304', '1.2.3.4'],
    ['64:ff9b:1::1.2.3.4', '64:ff9b:1:0::/64'],
    ['', ''],
    ['nonsense', 'nonsense'],
  ] as const) {
    it(`maps ${JSON.stringify(address)} to ${JSON.stringify(network)}`, () => assert.equal(networkOf(address), network))
  }
})

describe('Bucket', () => {
  it('returns the whole seconds to wait', () => {
    const bucket = new Bucket(2, NOW)
    bucket.consume(2)
    assert.deepEqual([bucket.has(1, NOW), bucket.secondsUntil(1)], [false, 1])
    bucket.consume(9)
    assert.equal(bucket.secondsUntil(1), 5)
    assert.equal(bucket.has(1, NOW + 5000), true)
  })
})

/** A client that has gone already. */
const gone = (remote: string) => ({ remote, onGone: (handler: () => void) => handler() })

describe('Addresses', () => {
  it('decrease the count when a connection ends, 10,000 times', () => {
    const addresses = new Addresses({ connects: 1_000_000, clients: 2 })
    for (let i = 0; i < 10_000; i++) {
      let leave = () => {}
      const onGone = (handler: () => void) => {
        leave = handler
      }
      assert.equal(addresses.enter({ remote: '1.2.3.4', onGone }, NOW), undefined, String(i))
      leave()
    }
    assert.equal(addresses.occupied, 0)
  })
  it('do not count a connection that has already ended', () => {
    const addresses = new Addresses({ connects: 10, clients: 1 })
    assert.equal(addresses.enter(gone('1.2.3.4'), NOW), undefined)
    assert.equal(addresses.occupied, 0)
  })
  it('keep a bounded number of addresses', () => {
    const addresses = new Addresses({ connects: 1, clients: 1 })
    assert.equal(addresses.enter(gone('first'), NOW), undefined)
    assert.notEqual(addresses.enter(gone('first'), NOW), undefined)
    for (let i = 0; i < 100_000; i++) addresses.enter(gone(`a${i}`), NOW)
    assert.equal(addresses.enter(gone('first'), NOW), undefined, 'it was evicted')
  })
})
