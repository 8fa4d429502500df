import assert from 'node:assert/strict'
import { execFileSync, spawn, spawnSync } from 'node:child_process'
import { appendFileSync, mkdtempSync, readFileSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { Peer, until } from '../support/peer.ts'
import { type RedisServer, startRedis } from '../support/redis.ts'
import { root } from '../support/root.ts'

/** Pages that are followed from top to bottom in one folder. */
const PAGES = ['README.md', 'docs/guide/writing-filters.md', 'docs/guide/configuration.md', 'docs/guide/library.md']
const blocks = PAGES.flatMap(page =>
  [...readFileSync(join(root, page), 'utf8').matchAll(/^```(\w+)\n([\s\S]*?)^```$/gm)].map(([, language, text]) => ({
    language: language!,
    text: text!,
  })),
)
/** Every command of the pages, in order; guides leave out `npx`. */
const commands = [
  ...new Set(
    blocks
      .filter(({ language }) => language === 'sh')
      .flatMap(({ text }) => text.trim().split(/\n| && /))
      .map(line => line.replace(/^([A-Z_]+=\S+ )?fws-server/, '$1npx fws-server')),
  ),
]
/** Commands that are pipelines or need a running server. */
const pipes = commands.filter(line => /\| npx |npx fws-server (listen|send) /.test(line))
const servers = commands.filter(line => /^([A-Z_]+=\S+ )?npx fws-server/.test(line) && !pipes.includes(line))
/** Commands that print and exit. */
const printing = servers.filter(line => /--(explain|help)\b/.test(line))
const nodes = servers.filter(line => line.startsWith('STORAGE_OBJECT_MODULE=redis '))
const others = commands.filter(line => !servers.includes(line) && !pipes.includes(line))
/** The files that they show; the first line of each is a comment with its name. */
const files = blocks.flatMap(({ text }) => {
  const name = /^\/\/ ([\w.-]+\.\w+)(:|\n)/.exec(text)?.[1]
  return name === undefined ? [] : [{ name, text }]
})

describe('README and guides, followed from a clone in an empty folder', () => {
  const folder = mkdtempSync(join(tmpdir(), 'fws-readme-'))
  const clone = join(folder, 'filtered-websocket')
  // The ports of the examples may be in use. `NODE_TEST_CONTEXT` would change the output of `node --test`.
  const { NODE_TEST_CONTEXT: _, ...inherited } = process.env
  const env: Record<string, string | undefined> = {
    ...inherited,
    FWS_PORT: '0',
    FWS_MESSAGING_PORT: '0',
    FWS_LINES_PORT: '0',
    FWS_LOG_LEVEL: 'info',
  }
  let redis: RedisServer
  after(async () => {
    rmSync(folder, { recursive: true, force: true })
    await redis.stop()
  })

  before(async () => {
    redis = await startRedis()
    const [install] = commands
    assert.equal(install, 'npm install')
    execFileSync('git', ['clone', '-q', root, clone], { stdio: 'inherit' })
    const [program, ...args] = install.split(' ')
    execFileSync(program!, [...args, '--no-audit', '--no-fund', '--prefer-offline'], { cwd: clone, env, stdio: 'pipe' })
    for (const { name, text } of files) writeFileSync(join(clone, name), text)
  })

  /** Starts a command; `stop` kills its process group. */
  function start(command: string) {
    const child = spawn('sh', ['-c', command], { cwd: clone, env, detached: true })
    const said = { stdout: '', stderr: '', code: undefined as number | null | undefined }
    child.stdout.on('data', chunk => {
      said.stdout += chunk
    })
    child.stderr.on('data', chunk => {
      said.stderr += chunk
    })
    child.on('close', code => {
      said.code = code
    })
    const stop = async () => {
      // npx starts a shell, and the shell starts the server.
      if (said.code === undefined) process.kill(-child.pid!, 'SIGTERM')
      await until(() => said.code !== undefined, `the end of ${command}`, 60_000)
    }
    return { said, stop }
  }

  /** Runs a server while `use` connects to it. */
  async function whileRunning(command: string, use: (url: string, said: { stdout: string }) => Promise<void>) {
    const { said, stop } = start(command)
    try {
      // The first npx links the package into its cache, which is slow under load.
      await until(() => said.code !== undefined || said.stderr.includes('listening on '), command, 60_000)
      const [url] = /ws:\/\/[\d.:]+/.exec(said.stderr) ?? []
      assert.ok(url, said.stderr)
      await use(url, said)
    } finally {
      await stop()
    }
  }

  async function runToEnd(command: string) {
    const { said, stop } = start(command)
    try {
      await until(() => said.code !== undefined, command, 300_000)
    } finally {
      await stop()
    }
    assert.equal(said.code, 0, said.stderr + said.stdout)
    return said
  }

  it('shows commands and files', () => {
    assert.deepEqual([servers.length, printing.length, nodes.length, pipes.length], [27, 4, 2, 4], servers.join('\n'))
    assert.deepEqual(others, ['npm install', 'node --test popchar.test.mjs'])
    assert.deepEqual(files.length, new Set(files.map(({ name }) => name)).size)
    assert.equal(files.length, 31, files.map(({ name }) => name).join(' '))
  })

  for (const command of servers.filter(line => !printing.includes(line) && !nodes.includes(line))) {
    it(`${command} listens, and a client connects`, () =>
      whileRunning(command, async url => {
        const peer = await Peer.open(url)
        peer.ws.close()
        await peer.end()
      }))
  }

  it('the two servers with Redis are one server', async () => {
    const [first, second] = nodes
    env.FWS_REDIS_URL = redis.url
    env.FWS_HEALTH_PORT = '0'
    // The README uses a fixed port, the test any free one.
    await whileRunning(first!, one =>
      whileRunning(second!.replace('-p 9002', '-p 0'), async two => {
        const [ann, bob] = [await Peer.open(one), await Peer.open(two)]
        ann.send('hello')
        assert.deepEqual(await bob.get(1), ['hello'])
      }),
    )
  })

  it('npx fws-server listen prints what npx fws-server send sends, and so does the server', () =>
    whileRunning('npx fws-server', async (url, said) => {
      const [listen, send] = pipes.map(command => command.replace('ws://127.0.0.1:9000', url))
      const listener = start(listen!)
      try {
        await until(
          async () => {
            // The listener may not be connected yet.
            await runToEnd(send!)
            return listener.said.stdout.startsWith('hello\n')
          },
          listener.said.stderr,
          120_000,
        )
        await until(() => /^--MESSAGE--\n[0-9a-f-]{36} => hello\n/.test(said.stdout), said.stdout)
      } finally {
        await listener.stop()
      }
    }))

  it(`${pipes[2]} sends the lines of a log in capital letters`, t => {
    if (spawnSync('python3', ['--version']).status !== 0) return t.skip('no python3')
    writeFileSync(join(clone, 'app.log'), '')
    return whileRunning(pipes[2]!, async url => {
      const peer = await Peer.open(url)
      appendFileSync(join(clone, 'app.log'), 'hello\n')
      assert.deepEqual(await peer.get(1), ['HELLO'])
      peer.ws.close()
    })
  })

  it(`${pipes[3]} prints what the client gets`, async () => {
    const { stdout } = await runToEnd(pipes[3]!)
    assert.equal(stdout, '{"client":"ann","data":"say something"}\n{"client":"ann","data":"HELLO"}\n')
  })

  it('npx fws-server -f ./hello.js broadcast stdout-messages greets, converts to upper case, and hides a secret', () =>
    whileRunning('npx fws-server -f ./hello.js broadcast stdout-messages', async (url, said) => {
      const [ann, bob] = [await Peer.open(url), await Peer.open(url)]
      ann.send('secret')
      ann.send('hello')
      assert.deepEqual(await bob.get(2), ['say something', 'HELLO'])
      await until(() => /^--MESSAGE--\n[0-9a-f-]{36} => HELLO\n$/.test(said.stdout), said.stdout)
    }))

  it('the filters that no command names can be loaded', async () => {
    const { stdout } = await runToEnd('npx fws-server -f ./staff.js ./ask.js ./door.ts ./frames.js broadcast --explain')
    assert.match(stdout, /max-payload +4194304 +filter frames/)
  })

  it('npm test runs the tests', async () => {
    assert.match((await runToEnd('npm test -- test/config/nearest.test.ts')).stdout, /^ℹ fail 0$/m)
  })

  const programs = files.filter(file => /^servers?\.mjs$/.test(file.name)).map(({ name }) => `node ${name}`)
  for (const command of [...printing, ...others.filter(line => line.startsWith('node ')), ...programs]) {
    it(`${command} exits with 0`, async () => assert.ok((await runToEnd(command)).stdout.length > 0))
  }
})
