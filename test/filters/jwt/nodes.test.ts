import assert from 'node:assert/strict'
import { after, before, describe, it } from 'node:test'
import { folder, launch } from '../../support/cli.ts'
import { until } from '../../support/peer.ts'
import { type RedisServer, skipWithoutOwn, startRedis } from '../../support/redis.ts'
import { SECRET, sign } from '../../support/tokens.ts'
import { upgrade } from '../../support/upgrade.ts'

/** Revokes by a JSON message. */
const REVOKE = `export const uses = ['jwt']
export const setup = host => {
  const jwt = host.use('jwt')
  return {
    message: async (payload, client) => {
      await jwt.revoke(JSON.parse(payload), 60)
      return client.answer('revoked')
    },
  }
}`

const by = (claims: object) => ({ headers: { authorization: `Bearer ${sign(claims)}` } })

describe('jwt on several nodes', { skip: skipWithoutOwn }, () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis.stop())

  it('revokes on all nodes, and admits no client that may be revoked while the storage is down', async t => {
    const cwd = folder(t, { 'revoke.js': REVOKE })
    const argv = ['-p', '0', '-f', 'jwt', './revoke.js', '--redis-url', redis.url, '--drain', '1']
    const env = { STORAGE_OBJECT_MODULE: 'redis', FWS_JWT_SECRET: SECRET }
    const [one, two] = await Promise.all([launch(t, argv, { cwd, env }), launch(t, argv, { cwd, env })])
    const admin = (await upgrade(one.url, by({ sub: 'root' }))).peer!
    const [ann, bob] = [
      (await upgrade(two.url, by({ sub: 'ann' }))).peer!,
      (await upgrade(two.url, by({ jti: 'b' }))).peer!,
    ]
    admin.send('{"sub":"ann"}')
    assert.deepEqual(await ann.end(), { code: 4403, reason: 'revoked' })
    admin.send('{"jti":"b"}')
    assert.deepEqual(await admin.get(2), ['revoked', 'revoked'])
    for (const claims of [{ sub: 'ann' }, { jti: 'b' }]) {
      const { status, body } = await upgrade(two.url, by({ ...claims, iat: Math.floor(Date.now() / 1000) - 60 }))
      assert.deepEqual([status, body], [401, 'token refused: revoked\n'])
    }
    // A revocation by id takes effect on other nodes at the refresh.
    assert.equal(bob.closed, undefined)
    bob.send(JSON.stringify({ auth: sign({ jti: 'b' }) }))
    assert.deepEqual(await bob.end(), { code: 4401, reason: 'revoked' })

    await redis.kill()
    await until(async () => (await upgrade(two.url, by({ sub: 'cy' }))).status === 503, 'a refusal')
    const { body, headers } = await upgrade(two.url, by({ sub: 'cy' }))
    assert.deepEqual([body, headers['retry-after']], ['token refused: revocations unavailable\n', '5'])
    assert.equal(admin.closed, undefined)
    await redis.restart()
    await until(async () => (await upgrade(two.url, by({ sub: 'cy' }))).status === 101, 'a welcome')
  })
})
