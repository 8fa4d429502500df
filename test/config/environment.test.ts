import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { messageOf } from '../../src/contract/errors.ts'
import { makePlan } from '../../src/lifecycle/plan.ts'
import { createLoader } from '../../src/lifecycle/server.ts'
import { folder, launch } from '../support/cli.ts'

type Env = Readonly<Record<string, string>>

const base = import.meta.dirname
const SECRET = 'a secret of thirty-two bytes, or more'
/** Every filter and storage whose options are tested. */
const ARGV = ['-f', 'jwt', 'allow', 'rate-limit', 'health', 'broadcast-by-token', '--storage', 'redis']
const NEEDED = ['--jwt-secret', SECRET, '--allow-rules', 'user join **']

/** Value and source of an option, or the error. */
async function optionOf(name: string, env: Env, argv: readonly string[] = [...ARGV, ...NEEDED]): Promise<unknown> {
  try {
    const { settings } = await makePlan({ argv, env, base }, createLoader())
    const { value, source } = settings.get(name)!
    return [value, source]
  } catch (error) {
    return messageOf(error)
  }
}

async function warningsOf(env: Env): Promise<readonly string[]> {
  return (await makePlan({ argv: [...ARGV, ...NEEDED], env, base }, createLoader())).warnings
}

describe('variables that an orchestrator injects', () => {
  for (const [variable, value, name, expected] of [
    ['FWS_PORT', 'tcp://10.0.0.5:9000', 'port', 9000],
    ['FWS_PORT', 'tcp://[fd00::5]:9000', 'port', 9000],
    ['FWS_PORT', 'udp://172.17.0.3:53\r', 'port', 9000],
    ['FWS_HEALTH_PORT', 'tcp://10.0.0.6:9001', 'health-port', 9001],
    ['FWS_REDIS_PORT', 'tcp://10.0.0.7:6379', 'redis-port', 6379],
    ['FWS_REDIS_PORT', 'sctp://redis.example:6379', 'redis-port', 6379],
  ] as const) {
    it(`${variable}=${JSON.stringify(value)} is ignored with a warning`, async () => {
      assert.deepEqual(await optionOf(name, { [variable]: value }), [expected, 'default'])
      assert.deepEqual(await warningsOf({ [variable]: value }), [
        `ignored ${variable}: Kubernetes or Docker sets it for a service whose name begins with "fws"; in Kubernetes, enableServiceLinks: false turns this off`,
      ])
    })
  }

  it('do not hide a value of the config file', async t => {
    const cwd = folder(t, { 'my.json': '{ "port": 8123 }' })
    const plan = await makePlan(
      { argv: ['-c', 'my.json'], env: { FWS_PORT: 'tcp://10.0.0.5:9000' }, base: cwd },
      createLoader(),
    )
    assert.deepEqual([plan.settings.get('port')!.value, plan.settings.get('port')!.source], [8123, 'my.json'])
  })

  for (const value of ['tcp://', 'http://10.0.0.5:9000', 'tcp://10.0.0.5', '10.0.0.5:9000', 'tcp://a b:9000']) {
    it(`but FWS_PORT=${value} is a mistake`, async () =>
      assert.equal(
        await optionOf('port', { FWS_PORT: value }),
        `FWS_PORT takes a whole number from 0 to 65535, received "${value}"`,
      ))
  }

  it('are one warning in the log of a server, which starts', async t => {
    const server = await launch(t, ['-f', 'echo', '-c', 'my.json'], {
      cwd: folder(t, { 'my.json': '{ "port": 0 }' }),
      env: {
        FWS_SERVICE_HOST: '10.0.0.5',
        FWS_SERVICE_PORT: '9000',
        FWS_SERVICE_PORT_WS: '9000',
        FWS_PORT: 'tcp://10.0.0.5:9000',
        FWS_PORT_9000_TCP: 'tcp://10.0.0.5:9000',
        FWS_PORT_9000_TCP_PROTO: 'tcp',
        FWS_PORT_9000_TCP_PORT: '9000',
        FWS_PORT_9000_TCP_ADDR: '10.0.0.5',
        FWS_METRICS_SERVICE_HOST: '10.0.0.8',
        FWS_METRICS_PORT: 'tcp://10.0.0.8:9001',
        FWS_PROT: '1',
      },
    })
    assert.deepEqual(
      server.logged().flatMap(({ level, msg }) => (level === 40 ? [msg] : [])),
      [
        'ignored FWS_SERVICE_HOST, FWS_SERVICE_PORT, FWS_SERVICE_PORT_WS, FWS_PORT, FWS_PORT_9000_TCP, FWS_PORT_9000_TCP_PROTO, FWS_PORT_9000_TCP_PORT, FWS_PORT_9000_TCP_ADDR, FWS_METRICS_SERVICE_HOST, FWS_METRICS_PORT: Kubernetes or Docker sets them for a service whose name begins with "fws"; in Kubernetes, enableServiceLinks: false turns this off',
        'environment variable FWS_PROT names no option; did you mean FWS_PORT?',
      ],
    )
  })
})

describe('an empty variable', () => {
  for (const [variable, value, name, expected] of [
    ['FWS_DRAIN', '', 'drain', 10],
    ['FWS_PORT', ' ', 'port', 9000],
    ['FWS_HOST', '\r', 'host', '127.0.0.1'],
    ['FWS_LOG_LEVEL', '', 'log-level', 'info'],
    ['FWS_COMPRESS', '', 'compress', false],
    ['FWS_TRUST_PROXY', '', 'trust-proxy', []],
    ['FWS_TRUST_PROXY', ' , ', 'trust-proxy', []],
    ['FWS_JWT_COOKIE', '', 'jwt-cookie', undefined],
    ['FWS_REDIS_SENTINELS', '', 'redis-sentinels', []],
  ] as const)
    it(`${variable}=${JSON.stringify(value)} is not set`, async () =>
      assert.deepEqual(await optionOf(name, { [variable]: value }), [expected, 'default']))

  it('does not hide a value of the config file', async t => {
    const cwd = folder(t, { 'my.json': '{ "drain": 7 }' })
    const plan = await makePlan({ argv: ['-c', 'my.json'], env: { FWS_DRAIN: '' }, base: cwd }, createLoader())
    assert.equal(plan.settings.get('drain')!.value, 7)
  })

  for (const [variable, wants, value = ''] of [
    ['FWS_FILTERS', 'a value that is not empty'],
    ['FWS_FILTERS', 'a value that is not empty', ', '],
    ['FWS_CONFIG', 'a value that is not empty'],
    ['FWS_KEY', 'a value that is not empty'],
    ['FWS_CERT', 'a value that is not empty', '\r\n'],
    ['FWS_CA', 'a value that is not empty', ' '],
    ['FWS_HOSTS', 'a value that is not empty'],
    ['FWS_HOSTS', 'a value that is not empty', ','],
    ['FWS_ORIGINS', 'a value that is not empty'],
    ['FWS_JWT_AUDIENCE', 'a value that is not empty'],
    ['FWS_JWT_ISSUER', 'a value that is not empty', ','],
    ['FWS_JWT_MAX_AGE', 'a number of at least 1'],
    ['FWS_ALLOW_RULES', 'a value that is not empty', ' ; '],
    ['FWS_BROADCAST_BY_TOKEN_CLAIM', 'a value that is not empty'],
    ['FWS_RATE_LIMIT_IDENTITY_MESSAGES', 'a number of at least 1'],
    ['FWS_REDIS_TLS', 'true or false'],
    ['FWS_REDIS_TLS_CA', 'a value that is not empty'],
  ] as const)
    it(`${variable}=${JSON.stringify(value)} is refused, since the default protects less`, async () => {
      const argv = variable === 'FWS_FILTERS' ? [] : ARGV
      const env = { FWS_JWT_SECRET: SECRET, FWS_ALLOW_RULES: 'user join **', [variable]: value }
      assert.equal(await optionOf('port', env, argv), `${variable} takes ${wants}, received ""`)
    })

  for (const variable of ['FWS_JWT_SECRET', 'FWS_REDIS_PASSWORD', 'FWS_KEY_PASSPHRASE'])
    it(`${variable}= is refused, as are a secret file that is empty and an empty name of one`, async t => {
      const cwd = folder(t, { secret: ' \n' })
      const refused = async (env: Env) => {
        const argv = [...ARGV, '--allow-rules', 'user join **']
        return optionOf('port', { ...(variable === 'FWS_JWT_SECRET' ? {} : { FWS_JWT_SECRET: SECRET }), ...env }, argv)
      }
      for (const value of ['', ' ', '\r'])
        assert.equal(
          await refused({ [variable]: value }),
          `${variable} takes a value that is not empty, received a secret value`,
        )
      assert.equal(
        await refused({ [`${variable}_FILE`]: `${cwd}/secret` }),
        `${variable}_FILE takes a value that is not empty, received a secret value`,
      )
      assert.match(
        String(await refused({ [`${variable}_FILE`]: ' ' })),
        new RegExp(`^${variable}_FILE names a file that cannot be read: `),
      )
    })
})

describe('a value of the environment', () => {
  for (const [value, expected] of [
    ['True', true],
    ['TRUE', true],
    ['yes', true],
    ['Yes', true],
    ['on', true],
    ['1', true],
    ['on \r', true],
    ['False', false],
    ['no', false],
    ['NO', false],
    ['off', false],
    ['0', false],
  ] as const)
    it(`${JSON.stringify(value)} is ${expected} for a switch`, async () =>
      assert.deepEqual(await optionOf('compress', { FWS_COMPRESS: value }), [expected, 'env FWS_COMPRESS']))

  for (const value of ['maybe', 'yess', '2', 'y', 'null'])
    it(`${JSON.stringify(value)} is not a switch`, async () =>
      assert.equal(
        await optionOf('compress', { FWS_COMPRESS: value }),
        `FWS_COMPRESS takes true or false, received "${value}"`,
      ))

  it('"yes" stays a string for an option that is not a switch', async () =>
    assert.deepEqual(await optionOf('host', { FWS_HOST: 'yes' }), ['yes', 'env FWS_HOST']))

  for (const [variable, value, name, expected] of [
    ['FWS_PORT', '8123\r', 'port', 8123],
    ['FWS_HOST', '0.0.0.0 \r\n', 'host', '0.0.0.0'],
    ['FWS_LOG_LEVEL', 'debug  ', 'log-level', 'debug'],
    ['FWS_ORIGINS', 'https://a.example,https://b.example\r', 'origins', ['https://a.example', 'https://b.example']],
    ['FWS_JWT_SECRET', `${SECRET}\r`, 'jwt-secret', SECRET],
    ['FWS_KEY', '/nowhere/key.pem\r', 'key', '/nowhere/key.pem'],
    ['FWS_JWT_COOKIE', ' session\t', 'jwt-cookie', ' session'],
  ] as const)
    it(`${JSON.stringify(value)} of ${variable} has no spaces and line ends at its end`, async () => {
      const argv = [
        ...ARGV,
        '--allow-rules',
        'user join **',
        '--cert',
        '/nowhere/cert.pem',
        '--key',
        '/nowhere/key.pem',
      ]
      const given = name === 'key' ? argv.slice(0, -2) : name === 'jwt-secret' ? argv.slice(0, -4) : argv
      const env = { FWS_JWT_SECRET: SECRET, [variable]: value }
      assert.deepEqual(await optionOf(name, env, given), [expected, `env ${variable}`])
    })

  it('of STORAGE_OBJECT_MODULE, too', async () =>
    assert.deepEqual(await optionOf('storage', { STORAGE_OBJECT_MODULE: 'redis\r' }, ['-f', 'echo']), [
      'redis',
      'env STORAGE_OBJECT_MODULE',
    ]))
})
