import assert from 'node:assert/strict'
import { connect } from 'node:net'
import { join } from 'node:path'
import { Writable } from 'node:stream'
import { after, before, describe, it, type TestContext } from 'node:test'
import { main } from '../src/cli.ts'
import { coreOptions, envName } from '../src/config/options.ts'
import type { OptionSpecs } from '../src/contract/option.ts'
import { builtinNames, FILTER, STORAGE } from '../src/modules/loader.ts'
import { EXTENSION, ROOT } from '../src/root.ts'
import { folder, Launched } from './support/cli.ts'
import { ask, handshake } from './support/frames.ts'
import { Peer, until } from './support/peer.ts'
import { type RedisServer, skipWithoutOwn, startRedis } from './support/redis.ts'

/** A unique value in any encoding. */
const SECRET = 'xQ7pLm2vRz9KsW4tYc8NbJ3hGd6fAe5uVi1oXq0k'
/** Parts of it must not be printed either. */
const PART = SECRET.slice(3, 12)

interface SecretOption {
  readonly name: string
  /** Arguments that add the option. */
  readonly chosen: readonly string[]
}

/** All secret options of the core, the filters and the storages. */
async function secretOptions(): Promise<readonly SecretOption[]> {
  const found: SecretOption[] = []
  const add = (specs: OptionSpecs = {}, chosen: readonly string[]) => {
    for (const [name, spec] of Object.entries(specs)) if (spec.secret) found.push({ name, chosen })
  }
  add(coreOptions, ['-f', 'health', 'echo'])
  for (const kind of [FILTER, STORAGE]) {
    for (const name of builtinNames(kind)) {
      const module = await import(new URL(`${kind.folder}/${name}${EXTENSION}`, ROOT).href)
      add(
        module.options,
        kind === FILTER ? ['-f', name, 'health', 'echo'] : ['--storage', name, '-f', 'health', 'echo'],
      )
    }
  }
  return found
}

const options = await secretOptions()

/** Ways to set a secret: arguments and variables. */
const WAYS: Readonly<
  Record<string, (option: string, value: string, t: TestContext) => { argv: string[]; env: Record<string, string> }>
> = {
  'as a flag': (option, value) => ({ argv: [`--${option}`, value], env: {} }),
  'in the environment': (option, value) => ({ argv: [], env: { [envName(option)]: value } }),
  'in a file': (option, value, t) => ({
    argv: [],
    env: { [`${envName(option)}_FILE`]: join(folder(t, { secret: `${value}\n` }), 'secret') },
  }),
  'in the config file': (option, value, t) => ({
    argv: ['-c', join(folder(t, { 'c.json': JSON.stringify({ [option]: value }) }), 'c.json')],
    env: {},
  }),
}

function assertNone(text: string, what: string): void {
  for (const form of [PART, encodeURIComponent(PART), Buffer.from(SECRET).toString('base64').slice(4, 20)])
    assert.ok(!text.includes(form), `${what} tells the secret:\n${text}`)
}

class Collected extends Writable {
  text = ''
  override _write(chunk: unknown, _: unknown, done: () => void): void {
    this.text += chunk
    done()
  }
}

/** All output of the command, in this process; a server that starts is stopped immediately. */
async function said(argv: readonly string[], env: Readonly<Record<string, string>>, base: string): Promise<string> {
  const [stdout, stderr] = [new Collected(), new Collected()]
  const result = await main({ argv, env, base, stdout, stderr })
  if (typeof result !== 'number') await result.close()
  return stdout.text + stderr.text
}

it('there are secret options to test', () => {
  const names = options.map(({ name }) => name)
  for (const name of ['redis-url', 'redis-password', 'redis-sentinel-password']) assert.ok(names.includes(name), name)
})

for (const { name, chosen } of options) {
  const quiet = [...chosen, '-p', '0', '--log-level', 'trace', '--log-format', 'json', '--drain', '0']

  describe(`--${name}`, () => {
    for (const [way, give] of Object.entries(WAYS)) {
      it(`${way} is not in --explain`, async t => {
        const { argv, env } = give(name, SECRET, t)
        const text = await said([...quiet, ...argv, '--explain'], env, folder(t))
        assertNone(text, '--explain')
      })
    }

    it('is not in the error about a wrong value', async t => {
      const variable = envName(name)
      const config = (text: string) => ['-c', join(folder(t, { 'c.json': text }), 'c.json')]
      const key = JSON.stringify(name)
      const attempts: [argv: string[], env?: Record<string, string>][] = [
        [[`--${name}`, SECRET, `--${name}`, SECRET]],
        [[`--${name}`, 'first', SECRET]],
        [[`--${name}`, `--${SECRET}`]],
        [[`--${name}`, `-${SECRET}`]],
        [[`--${name}x=${SECRET}`]],
        [[`--${name}x`, SECRET]],
        [[`--${name.replaceAll('-', '_')}=${SECRET}`, `--${name}=${SECRET}`]],
        [[`--no-${name}=${SECRET}`]],
        [[`--${name}=`, SECRET]],
        [[`--${name}`, `redis://user:${SECRET}@127.0.0.1:99999/7`]],
        [[`--${name}`, `redis://user:${SECRET}%zz@127.0.0.1:1`]],
        [[`--${name}`, `https://user:${SECRET}@127.0.0.1`]],
        [[], { [variable]: SECRET, [`${variable}_FILE`]: '/nowhere' }],
        [[], { [`${variable}S`]: SECRET }],
        [[], { [`${variable}_FILE`]: SECRET }],
        [[], { [`${variable}_FILE`]: `/${SECRET}'\n` }],
        [config(`{ ${key}: ["${SECRET}"] }`)],
        [config(`{ ${key}: { "a": "${SECRET}" } }`)],
        [config(`{ ${key}: "${SECRET}", ${key}: "${SECRET}" }`)],
        [config(`{ "${name}x": "${SECRET}" }`)],
        [config(`{ ${key}: "${SECRET}" "port": 1 }`)],
        [config(`{ ${key}: ${SECRET} }`)],
        [config(`{ ${key}: "${SECRET}`)],
        [config(`{ "filters": [["echo", { ${key}: "${SECRET}" }]] }`)],
        [config(`{ "flags": [${key}, "${name}x"], ${key}: "${SECRET}" }`)],
      ]
      for (const [argv, env = {}] of attempts) {
        const text = await said([...quiet, ...argv, '--explain'], env, folder(t))
        assertNone(text, `${argv.join(' ').replaceAll(SECRET, 'SECRET')} ${Object.keys(env)}`)
      }
    })
  })
}

describe('a running server', { skip: skipWithoutOwn }, () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis({ config: { requirepass: SECRET } })
  })
  after(() => redis.stop())

  for (const { name, chosen } of options) {
    for (const [way, give] of Object.entries(WAYS)) {
      it(`does not print --${name} ${way} in the log, the metrics or a response`, async t => {
        const value = name === 'redis-url' ? redis.url : SECRET
        const { argv, env } = give(name, value, t)
        const target = name === 'redis-password' ? ['--redis-port', String(redis.port)] : ['--redis-url', redis.url]
        const rest = name.startsWith('redis-') && name !== 'redis-url' ? target : []
        const own = ['-p', '0', '--health-port', '0', '--log-level', 'trace', '--drain', '0']
        const server = new Launched([...chosen, ...own, ...argv, ...rest], { env })
        t.after(async () => void (await server.kill()))
        await until(() => server.listening() || server.child.exitCode !== null, 'a start or an end')
        assert.ok(!name.startsWith('redis-') || server.listening(), server.stderr)
        let answers = ''
        if (server.listening()) {
          const health = server.logged().find(({ msg }) => msg === 'health answers')!.url as string
          for (const path of ['metrics', 'readyz']) answers += await (await fetch(`${health}/${path}`)).text()
          answers += JSON.stringify(await ask(server.url, handshake(server.url)))
          answers += JSON.stringify(await ask(server.url, 'nonsense\r\n\r\n'))
          const peer = await Peer.open(server.url).catch(() => undefined)
          peer?.send('hello')
          connect(Number(new URL(server.url).port), '127.0.0.1')
            .on('error', () => {})
            .destroy()
        }
        const { stdout, stderr } = await server.stop()
        assertNone(stdout + stderr, 'the output')
        assertNone(answers, 'an answer')
      })
    }
  }

  it('logs no password when Redis refuses it or disconnects', async t => {
    const own = await startRedis({ config: { requirepass: SECRET } })
    t.after(() => own.stop())
    const argv = ['--storage', 'redis', '-f', 'echo', '-p', '0', '--log-level', 'trace', '--drain', '0']
    const wrong = ['--redis-timeout', '1', '--redis-url', own.url.replace(SECRET, `${SECRET}wrong`)]
    const refused = new Launched([...argv, ...wrong], {})
    const { code, stdout, stderr } = await refused.ended()
    assert.equal(code, 1)
    assertNone(stdout + stderr, 'a refused password')
    const server = new Launched([...argv, '--redis-password', SECRET, '--redis-port', String(own.port)], {})
    t.after(async () => void (await server.kill()))
    await until(() => server.listening(), 'a server')
    await own.kill()
    await until(() => server.logged().some(({ level }) => Number(level) >= 40), 'a warning')
    const ended = await server.stop()
    assertNone(ended.stdout + ended.stderr, 'a lost connection')
  })
})
