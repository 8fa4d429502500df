import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setup } from '../../filters/streams.ts'
import type { Host } from '../../src/contract/filter.ts'
import { createServer } from '../../src/index.ts'
import { testServer } from '../../src/testing/index.ts'
import { folder, launch, run } from '../support/cli.ts'
import { cheap } from '../support/cpu.ts'
import { Peer } from '../support/peer.ts'

const DEFAULTS = { 'streams-away': 'wait', 'streams-wait': 15, 'streams-recover': 4_194_304 }

const filter = (rules: readonly string[], options = {}) =>
  setup({ options: { 'streams-rules': rules, ...DEFAULTS, ...options } } as unknown as Host<never>)

const EXAMPLE = 'write a rule like "chat/** size=500 ttl=5m"'

describe('streams', () => {
  for (const [rule, topic, expected] of [
    ['chat/** size=500 ttl=5m', 'chat/a/b', { size: 500, ttlMs: 300_000, full: 'trim' }],
    ['chat/* ttl=1s full=refuse size=1', 'chat/a', { size: 1, ttlMs: 1000, full: 'refuse' }],
    ['  x   size=100000\tttl=365d  full=trim ', 'x', { size: 100_000, ttlMs: 31_536_000_000, full: 'trim' }],
    ['x size=5 bytes=1000 ttl=1s', 'x', { size: 5, bytes: 1000, ttlMs: 1000, full: 'trim' }],
    ['x size=007 ttl=24h', 'x', { size: 7, ttlMs: 86_400_000, full: 'trim' }],
    ['@everyone size=2 ttl=1m', '@everyone', { size: 2, ttlMs: 60_000, full: 'trim' }],
    ['* size=2 ttl=1m', 'a{b}\0', { size: 2, ttlMs: 60_000, full: 'trim' }],
    ['** size=2 ttl=1m', '@everyone', undefined],
    ['* size=2 ttl=1m', '@presence', undefined],
    ['chat/* size=2 ttl=1m', 'chat', undefined],
    ['** size=2 ttl=1m', 'x'.repeat(1024), { size: 2, ttlMs: 60_000, full: 'trim' }],
    ['** size=2 ttl=1m', 'x'.repeat(10_000), undefined],
  ] as const)
    it(`"${rule.trim()}" ${expected === undefined ? 'does not keep' : 'keeps'} ${JSON.stringify(topic.slice(0, 20))}`, () => {
      const shared = { away: 'wait', waitMs: 15_000, recoverBytes: 4_194_304 }
      assert.deepEqual(filter([rule]).retain(topic), expected && { ...expected, ...shared })
    })

  it('the first rule that matches holds', () => {
    const { retain } = filter(['chat/lobby size=1 ttl=1s', 'chat/* size=2 ttl=1s', '** size=3 ttl=1s'])
    const sizes = ['chat/lobby', 'chat/x', 'x'].map(topic => retain(topic)?.size)
    assert.deepEqual(sizes, [1, 2, 3])
  })

  it('its other options hold for all rules', () => {
    const given = { 'streams-away': 'live', 'streams-wait': 0.5, 'streams-recover': 1000 }
    const { away, waitMs, recoverBytes } = filter(['x size=1 ttl=1s'], given).retain('x')!
    assert.deepEqual([away, waitMs, recoverBytes], ['live', 500, 1000])
  })

  for (const [rule, column, why] of [
    ['', 1, 'a pattern of topics is missing'],
    ['  ', 1, 'a pattern of topics is missing'],
    ['chat/*', 7, 'size= is missing'],
    ['chat/* size=5', 14, 'ttl= is missing'],
    ['chat/* ttl=5m', 14, 'size= is missing'],
    ['chat/* size=5 ttl=5', 19, 'ttl= takes a time from 1s to 365d with the unit s, m, h or d, received "5"'],
    ['chat/* size=5 ttl=5ms', 19, 'ttl= takes a time from 1s to 365d with the unit s, m, h or d, received "5ms"'],
    ['chat/* size=5 ttl=5M', 19, 'ttl= takes a time from 1s to 365d with the unit s, m, h or d, received "5M"'],
    ['chat/* size=5 ttl=1.5h', 19, 'ttl= takes a time from 1s to 365d with the unit s, m, h or d, received "1.5h"'],
    ['chat/* size=5 ttl=-1s', 19, 'ttl= takes a time from 1s to 365d with the unit s, m, h or d, received "-1s"'],
    ['chat/* size=5 ttl=0s', 19, 'ttl= takes a time from 1s to 365d with the unit s, m, h or d, received "0s"'],
    ['chat/* size=5 ttl=366d', 19, 'ttl= takes a time from 1s to 365d with the unit s, m, h or d, received "366d"'],
    ['chat/* size=0 ttl=5m', 13, 'size= takes a number of entries from 1 to 100000, received "0"'],
    ['chat/* size=100001 ttl=5m', 13, 'size= takes a number of entries from 1 to 100000, received "100001"'],
    ['chat/* size= ttl=5m', 13, 'size= takes a number of entries from 1 to 100000, received ""'],
    ['chat/* size=1e3 ttl=5m', 13, 'size= takes a number of entries from 1 to 100000, received "1e3"'],
    ['chat/* size=0x10 ttl=5m', 13, 'size= takes a number of entries from 1 to 100000, received "0x10"'],
    ['chat/* size=5 ttl=5m bytes=0', 28, 'bytes= takes a number of bytes from 1 to 1000000000, received "0"'],
    ['chat/* size=5 ttl=5m bytes=4k', 28, 'bytes= takes a number of bytes from 1 to 1000000000, received "4k"'],
    ['chat/* size=5 size=6 ttl=5m', 15, 'size= is there twice'],
    ['chat/* size=5 ttl=5m full=drop', 27, 'full= takes trim or refuse, received "drop"'],
    ['chat/* sise=5 ttl=5m', 8, '"sise=5" is not size=, ttl=, bytes= or full='],
    ['chat/* news/* size=5 ttl=5m', 8, '"news/*" is not size=, ttl=, bytes= or full='],
    ['size=5 ttl=5m', 14, 'size= is missing'],
    ['user/{sub} size=5 ttl=5m', 6, 'braces stand for claims, which topics do not have; use *'],
    ['a/**/b size=5 ttl=5m', 1, '"**" is only valid as the last part, received "a/**/b"'],
    [
      '@presence/* size=5 ttl=5m',
      1,
      '"@presence/*": topics that begin with @ belong to filters; only @everyone can be kept',
    ],
    ['@* size=5 ttl=5m', 1, '"@*": topics that begin with @ belong to filters; only @everyone can be kept'],
  ] as const)
    it(`refuses the rule "${rule}"`, () => {
      const message = `--streams-rules: rule 2, "${rule}", column ${column}: ${why}; ${EXAMPLE}`
      assert.throws(() => filter(['x size=1 ttl=1s', rule]), { code: 'ERR_OPTION', message })
    })

  it('refuses a rule that never holds', () => {
    const rules = ['chat/* size=1 ttl=1s', 'x size=1 ttl=1s', ' chat/* size=2 ttl=1s']
    const why = 'rule 1 has the pattern chat/* too, so this one never holds'
    const message = `--streams-rules: rule 3, " chat/* size=2 ttl=1s", column 2: ${why}; ${EXAMPLE}`
    assert.throws(() => filter(rules), { message })
  })

  it('asks 10,000 rules in bounded time', () => {
    const rules = Array.from({ length: 10_000 }, (_, i) => `room/${i}/*ab*ab* size=1 ttl=1s`)
    const { retain } = filter(rules)
    for (const topic of ['room/9999/abab', `room/1/${'a'.repeat(1000)}`, '/'.repeat(1024), 'x'.repeat(10_000)])
      cheap(() => retain(topic), topic.slice(0, 20))
    assert.equal(retain('room/9999/abab')?.size, 1)
    assert.throws(
      () => filter([...rules, `x${'y'.repeat(10_000)} size=1`]),
      error => String(error).length < 500,
    )
  })

  it('keeps the messages of a topic for a client that reconnects', async t => {
    const server = await testServer(['streams'], { 'streams-rules': ['chat/* size=2 ttl=5m'] })
    t.after(() => server.stop())
    const { client: ann } = await server.connect()
    const { position } = await ann.join('chat/1', { after: 'now' })
    await ann.server.append('chat/1', 'one')
    const { client, received } = await server.connect()
    assert.equal((await client.join('chat/1', { after: position! })).recovered, true)
    server.flush()
    assert.deepEqual(received, ['one'])
    await assert.rejects(ann.server.append('other', 'x'), { code: 'ERR_STATE' })
  })

  it('keeps what broadcast sends to everyone, through the command', async t => {
    const args = ['-p', '0', '-f', 'streams', './last.js', 'broadcast', '--streams-rules', '@everyone size=5 ttl=1m']
    const last = `export const open = async client => {
      const { entries } = await client.server.read('@everyone', { from: 'newest', entries: 5, bytes: 1000 })
      client.send(\`\${entries.length} kept\`)
    }`
    const server = await launch(t, args, { cwd: folder(t, { 'last.js': last }) })
    const [ann, bob] = [await Peer.open(server.url), await Peer.open(server.url)]
    await bob.get(1)
    ann.send('hello')
    assert.deepEqual(await bob.get(2), ['0 kept', 'hello'])
    const late = await Peer.open(server.url)
    assert.deepEqual(await late.get(1), ['1 kept'])
  })

  it('--explain shows each rule with all its settings', async t => {
    const env = { FWS_STREAMS_RULES: 'chat/** size=500 ttl=5m; @everyone ttl=120s size=10 bytes=5000 full=refuse' }
    const { code, stdout } = await run(['-f', 'streams', '--explain'], { cwd: folder(t), env })
    assert.equal(code, 0)
    const shared = 'away=wait wait=15s recover=4194304'
    const lines = `filter streams\n  1. chat/** size=500 ttl=5m full=trim ${shared}\n  2. @everyone size=10 bytes=5000 ttl=2m full=refuse ${shared}\n`
    assert.ok(stdout.includes(`\n\n${lines}\n`), stdout)
    assert.match(stdout, /\n {2}retain\n {4}1\. streams /)
  })

  it('refuses to start without a rule, with a wrong one, or with a storage without streams', async t => {
    const bare = await run(['-f', 'streams'], { cwd: folder(t) })
    assert.equal(bare.code, 2)
    assert.match(bare.stderr, /filter streams needs --streams-rules: /)
    const wrong = await run(['-f', 'streams', '--streams-rules', 'x size=1 ttl=5'], { cwd: folder(t) })
    assert.equal(wrong.code, 2)
    assert.match(
      wrong.stderr,
      /filter streams: --streams-rules: rule 1, "x size=1 ttl=5", column 14: ttl= takes a time/,
    )
    const poor = 'export const open = () => ({ sets: {}, values: {} })'
    const cwd = folder(t, { 'poor.mjs': poor })
    const without = await run(['-f', 'streams', '--storage', './poor.mjs', '--streams-rules', 'x size=1 ttl=5s'], {
      cwd,
    })
    assert.equal(without.code, 2)
    assert.match(without.stderr, /streams.*needs a storage with "streams"/)
  })

  for (const [option, value, wanted] of [
    ['streamsWait', 0, 'from 0.1 to 3600'],
    ['streamsRecover', 268_435_457, 'from 1 to 268435456'],
    ['streamsRecover', 1.5, 'whole number'],
    ['streamsAway', 'later', 'wait, refuse, live'],
  ] as const)
    it(`refuses ${option} ${value}`, async () => {
      const options = { port: 0, filters: ['streams'], streamsRules: ['x size=1 ttl=1s'], [option]: value }
      await assert.rejects(createServer(options), error => String(error).includes(wanted))
    })
})
