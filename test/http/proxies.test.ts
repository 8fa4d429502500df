import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { readProxies } from '../../src/http/proxies.ts'
import { cpuTime } from '../support/cpu.ts'
import { ask, handshake } from '../support/frames.ts'
import { Peer, serve } from '../support/peer.ts'

const remote = (trusted: readonly string[], socket: string, forwarded?: string) =>
  readProxies(trusted).remoteOf(socket, forwarded)

describe('the address of a peer', () => {
  it("is the socket's, when no proxy is trusted", () => {
    assert.equal(remote([], '127.0.0.1', '1.2.3.4'), '127.0.0.1')
    assert.equal(remote([], '::1'), '::1')
  })
  it("is the socket's unless that is a trusted proxy: headers can be forged", () => {
    assert.equal(remote(['10.0.0.0/8'], '203.0.113.9', '1.2.3.4'), '203.0.113.9')
  })
  it('is the last entry behind one proxy, never the first', () => {
    assert.equal(remote(['loopback'], '127.0.0.1', '1.2.3.4'), '1.2.3.4')
    assert.equal(remote(['loopback'], '127.0.0.1', '6.6.6.6, 1.2.3.4'), '1.2.3.4')
    assert.equal(remote(['loopback'], '127.0.0.1', '127.0.0.1, 1.2.3.4'), '1.2.3.4')
  })
  it('is the right-most entry that is not a trusted proxy', () => {
    const trusted = ['loopback', '10.0.0.0/8', '2001:db8::/32']
    assert.equal(remote(trusted, '::1', '6.6.6.6, 1.2.3.4, 10.1.2.3,2001:db8::7'), '1.2.3.4')
  })
  it('is the first entry if all are trusted proxies', () => {
    assert.equal(remote(['10.0.0.0/8'], '10.0.0.1', '10.0.0.3, 10.0.0.2'), '10.0.0.3')
  })
  it('is that of the proxy if there is no header', () => {
    for (const header of [undefined, '', ' '])
      assert.equal(remote(['10.0.0.1'], '10.0.0.1', header), '10.0.0.1', JSON.stringify(header))
  })
  it('is the last valid hop before an invalid entry', () => {
    for (const entry of [
      'unknown',
      '_hidden',
      'example.com',
      '1.2.3',
      '1.2.3.4.5',
      '1.2.3.256',
      '010.0.0.1',
      '0x7f.0.0.1',
      '16909060',
      '1.2.3.4:',
      '1.2.3.4:http',
      '1.2.3.4:1234567',
      '2001:db8:::1',
      '[1.2.3.4]:80',
      '[2001:db8::1',
      '"1.2.3.4"',
      'for=1.2.3.4',
      '1.2.3.4 5.6.7.8',
      '<script>',
      '\0',
    ]) {
      assert.equal(remote(['loopback', '10.0.0.1'], '127.0.0.1', `6.6.6.6, ${entry}, 10.0.0.1`), '10.0.0.1', entry)
      assert.equal(remote(['loopback'], '127.0.0.1', `6.6.6.6, ${entry}`), '127.0.0.1', entry)
    }
  })
  it('is normalized: no port, brackets or zone', () => {
    for (const [entry, address] of [
      ['1.2.3.4:5678', '1.2.3.4'],
      ['[2001:db8::1]:5678', '2001:db8::1'],
      ['[2001:db8::1]', '2001:db8::1'],
      ['2001:DB8:0:0::1', '2001:db8::1'],
      ['fe80::1%eth0', 'fe80::1'],
      ['::ffff:1.2.3.4', '1.2.3.4'],
      ['::FFFF:102:304', '1.2.3.4'],
      ['[::ffff:1.2.3.4]:80', '1.2.3.4'],
      ['  1.2.3.4\t', '1.2.3.4'],
    ] as const) {
      assert.equal(remote(['loopback'], '127.0.0.1', entry), address, entry)
    }
  })
  it('is IPv4 also on a socket that listens to both', () => {
    assert.equal(remote([], '::ffff:1.2.3.4'), '1.2.3.4')
    assert.equal(remote(['10.0.0.1'], '::ffff:10.0.0.1', '1.2.3.4'), '1.2.3.4')
    assert.equal(remote(['::ffff:10.0.0.0/104'], '10.0.0.1', '1.2.3.4'), '1.2.3.4')
    assert.equal(remote(['loopback'], '::ffff:127.0.0.1', '1.2.3.4'), '1.2.3.4')
  })
  it('of a closed socket is empty', () => assert.equal(readProxies([]).remoteOf(undefined, '1.2.3.4'), ''))
  it('is found among thousands of entries without reading all', () => {
    const few = `1.2.3.4,${Array(2000).fill('10.0.0.2').join()}`
    const many = `${'6.6.6.6,'.repeat(100_000)}${few}`
    const proxies = readProxies(['10.0.0.0/8'])
    const read = (header: string) =>
      cpuTime(() => {
        for (let i = 0; i < 10; i++) assert.equal(proxies.remoteOf('10.0.0.1', header), '1.2.3.4')
      }).ms
    // Reading all entries would take 50 times as long.
    assert.ok(read(many) < 10 * read(few))
  })
})

describe('--trust-proxy', () => {
  for (const entry of [
    '',
    'proxy.example',
    '10.0.0.0/33',
    '::1/129',
    '10.0.0.0/',
    '10.0.0.0/8/8',
    '10.0.0.0/-1',
    '10.0.0.0/8.5',
    '10.0.0',
    'Loopback',
    'fe80::1%eth0',
    '1.2.3.4:80',
  ]) {
    it(`refuses ${JSON.stringify(entry)}`, () => {
      assert.throws(() => readProxies([entry]), {
        code: 'ERR_OPTION',
        message: `--trust-proxy takes addresses, ranges such as 10.0.0.0/8, loopback, or unix, received "${entry}"`,
      })
    })
  }
  for (const entry of ['0.0.0.0/0', '::/0']) {
    it(`refuses ${entry}: all clients could choose their address`, () => {
      assert.throws(() => readProxies([entry]), {
        message: `--trust-proxy ${entry} would let every client choose its address; name the proxies`,
      })
    })
  }

  it('sets the real address as client.remote and in the log, also for several headers', async t => {
    const remotes: string[] = []
    const server = await serve(t, {
      filters: [{ connect: client => void remotes.push(client.remote) }],
      trustProxy: ['loopback', '10.0.0.1'],
    })
    await Peer.open(server.url, { headers: { 'X-Forwarded-For': '6.6.6.6, 2001:db8::1' } })
    const twice = handshake(server.url).replace(
      '\r\n\r\n',
      '\r\nX-Forwarded-For: 1.2.3.4\r\nx-forwarded-for: 10.0.0.1\r\n\r\n',
    )
    assert.equal((await ask(server.url, twice)).status, 101)
    assert.deepEqual(remotes, ['2001:db8::1', '1.2.3.4'])
  })
  it('unset: the header is ignored', async t => {
    const remotes: string[] = []
    const server = await serve(t, { filters: [{ connect: client => void remotes.push(client.remote) }] })
    await Peer.open(server.url, { headers: { 'X-Forwarded-For': '1.2.3.4' } })
    assert.deepEqual(remotes, ['127.0.0.1'])
  })
})
