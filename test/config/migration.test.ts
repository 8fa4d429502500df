// Config files of filtered_websocket (Python), from its repository and its README.
import assert from 'node:assert/strict'
import { basename, extname } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { makePlan } from '../../src/lifecycle/plan.ts'
import { createLoader } from '../../src/lifecycle/server.ts'
import { folder, inside, launch, refusalInside } from '../support/cli.ts'
import { Peer } from '../support/peer.ts'
import { type RedisServer, skipWithoutRedis, startRedis } from '../support/redis.ts'

type Test = Parameters<typeof folder>[0]

/** Filters, storage and warnings; the storage is not opened. */
async function read(t: Test, text: string) {
  const base = folder(t, { 'my.json': text })
  const plan = await makePlan({ argv: ['-c', 'my.json'], base }, createLoader())
  return {
    files: plan.filters.map(({ file }) => basename(file, extname(file))),
    storage: [plan.storage.name, plan.settings.get('storage')!.source],
    warnings: plan.warnings,
  }
}

const idle = (name: string, at: string) =>
  new RegExp(`my\\.json:${at}: ${name} has no effect with storage memory; to use Redis, set "storage": "redis"$`)

describe('a config file of filtered_websocket (Python)', () => {
  it('selects Redis by the switch redis', async t => {
    for (const filters of [
      '["filters.broadcast_messages", "filters.stdout_rawdata"]',
      '["filtered_websocket.filters.broadcast_messages", "filtered_websocket.filters.stdout_rawdata"]',
    ]) {
      const text = `{\n    "port": "7766",\n    "flags": ["redis"],\n    "filters": ${filters}\n}\n`
      assert.deepEqual(await read(t, text), {
        files: ['broadcast', 'stdout-rawdata'],
        storage: ['redis', 'my.json'],
        warnings: [],
      })
    }
  })

  for (const prefix of ['', 'filtered_websocket.'])
    it(`names filters by ${prefix}filters.NAME, also by the first names of two`, async t => {
      for (const [old, name] of [
        ['broadcast_messages', 'broadcast'],
        ['broadcast_message_filter', 'broadcast'],
        ['broadcast_messages_by_token', 'broadcast-by-token'],
        ['token_broadcast_filters', 'broadcast-by-token'],
        ['broadcast_pubsub', 'broadcast-pubsub'],
        ['stdout_messages', 'stdout-messages'],
        ['stdout_pubsub', 'stdout-pubsub'],
        ['stdout_rawdata', 'stdout-rawdata'],
      ])
        assert.deepEqual((await read(t, `{ "filters": ["${prefix}filters.${old}"] }`)).files, [name], old)
    })

  it('runs with addresses of Redis but without Redis, with a warning for each', async t => {
    const text = `###
# An example config file
###
{
    "port": "9000",
    "redis_host": "localhost",
    "redis_port": "6379",
    "filters": ["filters.token_broadcast_filters", "filters.stdout_messages"]
}
`
    const { files, storage, warnings } = await read(t, text)
    assert.deepEqual(
      [files, storage],
      [
        ['broadcast-by-token', 'stdout-messages'],
        ['memory', 'default'],
      ],
    )
    assert.equal(warnings.length, 2)
    assert.match(warnings[0]!, idle('redis_host', '6:5'))
    assert.match(warnings[1]!, idle('redis_port', '7:5'))
  })

  it('may have redis_channels and redis_key, in every spelling', async t => {
    const { warnings } = await read(t, '{ "redis_channels": ["global"], "redisKey": "fws" }')
    assert.match(warnings[0]!, idle('redis_channels', '1:3'))
    assert.match(warnings[1]!, idle('redisKey', '1:33'))
  })

  for (const [what, text, sentence] of [
    ['another option of Redis without Redis', '{ "redis-tls": true }', /redis-tls is not an option/],
    [
      'a typo of one',
      '{ "redis_hosst": "x" }',
      /redis_hosst is not an option; did you mean "redis-host" of storage redis\?$/,
    ],
    ['a storage and another one as a switch', '{ "storage": "memory", "flags": ["redis"] }', /: redis is given twice$/],
    ['the switch at one place', '{ "filters": [["echo", { "flags": ["redis"] }]] }', /redis is not an option/],
    ['a filter that never was', '{ "filters": ["filters.stdout_mesages"] }', /^no filter "filters\.stdout_mesages"/],
    ['a filter that no name has', '{ "filters": ["filters."] }', /^no filter "filters\."/],
  ] as const)
    it(`is refused with ${what}`, async t =>
      assert.match(await refusalInside(['-c', 'my.json'], folder(t, { 'my.json': text })), sentence))

  it('leaves files alone whose names begin like the old prefix', async t => {
    const cwd = folder(t, {
      'filters.js': 'export const message = () => {}',
      'my.json': '{ "filters": ["filters.js"] }',
    })
    const { code, stdout, stderr } = await inside(['-c', 'my.json', '--explain'], cwd)
    assert.equal(code, 0, stderr)
    assert.match(stdout, /1\. filters\.js +filters\.js$/m)
  })
})

describe('the servers of filtered_websocket (Python)', { skip: skipWithoutRedis }, () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis.stop())

  it('run unchanged on Redis: two of them are one', async t => {
    const cwd = folder(t, {
      'my.json': `{ "port": "0", "flags": ["redis"], "redis_port": "${redis.port}",
        "filters": ["filters.broadcast_messages", "filters.stdout_rawdata"] }`,
    })
    const [one, two] = await Promise.all([launch(t, ['-c', 'my.json'], { cwd }), launch(t, ['-c', 'my.json'], { cwd })])
    const [ann, bob] = await Promise.all([Peer.open(one.url), Peer.open(two.url)])
    ann.send('hello')
    assert.deepEqual(await bob.get(1), ['hello'])
  })
})
