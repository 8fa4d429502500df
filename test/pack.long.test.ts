import assert from 'node:assert/strict'
import { type ChildProcess, execFile, spawn } from 'node:child_process'
import { existsSync, mkdirSync, readdirSync, readFileSync, writeFileSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, join } from 'node:path'
import { after, before, describe, it } from 'node:test'
import { promisify } from 'node:util'
import { folder, root } from './support/cli.ts'
import { Peer, until } from './support/peer.ts'

const FILTER = `
import type { Client, Host, Message, OptionSpecs, Payload } from 'filtered-websocket'
import { DROP } from 'filtered-websocket'

declare module 'filtered-websocket' {
  interface ClientState {
    shouted?: number
  }
}

export const options = {
  'shout-mark': { type: 'string', default: '!', describe: 'what to end with' },
  'shout-max': { type: 'number', default: 3, describe: 'messages of one client' },
} as const satisfies OptionSpecs

export const setup = ({ options: { 'shout-mark': mark, 'shout-max': max }, log }: Host<typeof options>) => ({
  open: (client: Client) => log.info({ client: client.id }, 'a client'),
  message(payload: Payload, client: Client, message: Message) {
    const shouted = (client.state.shouted ?? 0) + 1
    client.state.shouted = shouted
    if (shouted > max || message.at <= 0) return DROP
    return \`\${payload.toString().toUpperCase()}\${mark.repeat(shouted)}\`
  },
})
`

const PROGRAM = `
import { createServer, DROP, type FilterModule, FwsError, type RunningServer } from 'filtered-websocket'
import { fakeClient, setUp, testServer } from 'filtered-websocket/testing'
import { storageConformance } from 'filtered-websocket/testing/storage'
import * as broadcast from 'filtered-websocket/filters/broadcast'
import * as rateLimit from 'filtered-websocket/filters/rate-limit'
import { open } from 'filtered-websocket/storage/memory'
import * as shout from './shout.js'

const inline: FilterModule = { message: payload => (payload === 'secret' ? DROP : undefined) }
const server: RunningServer = await createServer({
  port: 0,
  logLevel: 'silent',
  filters: [[rateLimit, { 'rate-limit-messages': 5 }], inline, ['./shout.ts', { mark: '?' }], broadcast, 'echo'],
})
const { status } = await fetch(server.url.replace('ws:', 'http:'))
await server.close()

const tested = await testServer([shout, 'echo'])
const caller = await tested.connect()
await caller.say('hey')
await tested.stop()

const { message } = await setUp(shout, { 'shout-mark': '.' })
const fake = fakeClient()
const code: string = await createServer({ port: -1 }).then(() => 'none', (error: FwsError) => error.code)
console.log(JSON.stringify({ status, received: caller.received, code, kinds: [typeof message, typeof fake, typeof storageConformance, typeof open] }))
`

/** All imports of the filter and the program must be in the tarball, so the types of dependencies are checked too. */
const TSCONFIG = {
  compilerOptions: {
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    module: 'nodenext',
    target: 'es2023',
    lib: ['es2023'],
    types: ['node'],
    typeRoots: [join(root, 'node_modules/@types')],
    skipLibCheck: false,
    noEmit: true,
  },
  files: ['shout.ts', 'program.ts'],
}

/** Runs a program to its end; a failure contains its output. */
async function exec(file: string, args: readonly string[], cwd: string): Promise<string> {
  try {
    return (await promisify(execFile)(file, args, { cwd, timeout: 200_000 })).stdout
  } catch (error) {
    const { stdout, stderr } = error as { stdout: string; stderr: string }
    throw new Error(`${file} ${args.join(' ')}: ${stdout}${stderr}`, { cause: error })
  }
}

describe('the package, packed and installed in an empty folder', () => {
  const ends: (() => void | Promise<void>)[] = []
  let cwd: string
  let files: readonly string[]

  before(async () => {
    cwd = folder({ after: end => void ends.push(end) })
    const packed = await exec('npm', ['pack', '--ignore-scripts', '--json', '--pack-destination', cwd], root)
    const [{ filename, files: listed }] = JSON.parse(packed)
    files = (listed as { path: string }[]).map(({ path }) => path)
    await exec('npm', ['install', '--no-audit', '--no-fund', '--prefer-offline', `./${filename}`], cwd)
    writeFileSync(join(cwd, 'shout.ts'), FILTER)
    writeFileSync(join(cwd, 'program.ts'), PROGRAM)
    writeFileSync(join(cwd, 'tsconfig.json'), JSON.stringify(TSCONFIG))
    const manifest = JSON.parse(readFileSync(join(cwd, 'package.json'), 'utf8'))
    writeFileSync(join(cwd, 'package.json'), JSON.stringify({ ...manifest, type: 'module' }))
  })
  after(async () => {
    for (const end of ends) await end()
  })

  /** Starts Node in the folder of the installation. */
  function start(argv: readonly string[]) {
    const child = spawn(process.execPath, argv, { cwd, detached: true, stdio: ['ignore', 'ignore', 'pipe'] })
    let log = ''
    child.stderr.on('data', chunk => {
      log += chunk
    })
    /** The URL of the start with this number, from 1. */
    const url = async (number: number) => {
      const urls = () => [...log.matchAll(/listening on (ws:\/\/[^"]*)/g)].map(([, found]) => found!)
      await until(() => urls().length >= number || child.exitCode !== null, `start ${number}, got ${log}`, 60_000)
      assert.equal(child.exitCode, null, log)
      return urls()[number - 1]!
    }
    return { child, url }
  }

  it('contains the program, its types, the schema and the documents, without tests and sources', () => {
    const kinds =
      /^(dist\/.+\.(js|d\.ts)|docs\/.+|examples\/.+|config\.(example|schema)\.json|package\.json|[A-Z]+(\.md)?)$/
    assert.deepEqual(
      files.filter(file => !kinds.test(file)),
      [],
    )
    assert.deepEqual(
      files.filter(file => /\.test\.|\.tgz$|\.map$|tsconfig|node_modules/.test(file)),
      [],
    )
    const needed = [
      'package.json',
      'README.md',
      'CHANGELOG.md',
      'CONTRIBUTING.md',
      'SECURITY.md',
      'LICENSE',
      'config.example.json',
      'config.schema.json',
      'dist/bin/fws-server.js',
    ]
    assert.deepEqual(
      needed.filter(file => !files.includes(file)),
      [],
    )
    assert.deepEqual(
      files.filter(
        file => file.endsWith('.js') && file.startsWith('dist/') && !files.includes(file.replace(/js$/, 'd.ts')),
      ),
      // For pages; bundlers import from dist/client.
      ['client', 'media', 'messaging-files', 'messaging-handlers', 'messaging', 'microphone-worklet'].map(
        name => `dist/browser/${name}.js`,
      ),
    )
  })

  it('contains every file that its package.json names', () => {
    const home = join(cwd, 'node_modules/filtered-websocket')
    const { bin, exports, types } = JSON.parse(readFileSync(join(home, 'package.json'), 'utf8'))
    const targets = [types, ...Object.values(bin), ...pathsIn(exports)]
    const missing = (targets as string[]).filter(target =>
      target.includes('*') ? readdirSync(join(home, dirname(target))).length === 0 : !existsSync(join(home, target)),
    )
    assert.deepEqual(missing, [])
  })

  it('installs only JavaScript: no dependency has an install script', () => {
    const lock = JSON.parse(readFileSync(join(cwd, 'package-lock.json'), 'utf8'))
    const packages = Object.entries(lock.packages as Record<string, { hasInstallScript?: boolean }>)
    assert.ok(packages.length > 5)
    assert.deepEqual(
      packages.flatMap(([path, { hasInstallScript }]) => (hasInstallScript ? [path] : [])),
      [],
    )
  })

  it("runs npx fws-server with a user's TypeScript filter, and serves a real client", async () => {
    const npx = spawn('npx', ['fws-server', '-p', '0', '-f', './shout.ts', 'echo', '--shout-mark', '?'], {
      cwd,
      detached: true,
      stdio: ['ignore', 'ignore', 'pipe'],
    })
    let log = ''
    npx.stderr.on('data', chunk => {
      log += chunk
    })
    try {
      const url = () => /listening on (ws:\/\/[^"]*)/.exec(log)?.[1]
      await until(() => url() !== undefined || npx.exitCode !== null, `a server, got ${log}`, 60_000)
      assert.notEqual(url(), undefined, log)
      const peer = await Peer.open(url()!)
      for (const text of ['one', 'two', 'three', 'four']) peer.send(text)
      assert.deepEqual(await peer.get(3), ['ONE?', 'TWO??', 'THREE???'])
      peer.ws.terminate()
    } finally {
      await killAll(npx)
    }
  })

  it('runs by the command of the systemd unit in docs/operations/deployment.md', async () => {
    const page = readFileSync(join(root, 'docs/operations/deployment.md'), 'utf8')
    const [, program] = /^ExecStart=\/usr\/bin\/node \/opt\/fws\/(\S+) /m.exec(page)!
    const server = start([program!, '-p', '0', '-f', './shout.ts', 'echo'])
    try {
      const peer = await Peer.open(await server.url(1))
      peer.send('one')
      assert.deepEqual(await peer.get(1), ['ONE!'])
      peer.ws.terminate()
    } finally {
      await killAll(server.child)
    }
  })

  it('restarts when a filter in the watched folder changes, as docs/guide/writing-filters.md says', async () => {
    const page = readFileSync(join(root, 'docs/guide/writing-filters.md'), 'utf8')
    const [, words] = /`node (--watch-path=\S+ \S+ -f \S+)`/.exec(page)!
    const file = join(cwd, 'filters/words.ts')
    mkdirSync(dirname(file))
    writeFileSync(file, "export const message = (_: unknown, client: any) => client.send('first')\n")
    const server = start([...words!.split(' '), '-p', '0'])
    try {
      for (const [count, text] of [
        [1, 'first'],
        [2, 'second'],
      ] as const) {
        if (count === 2)
          writeFileSync(file, "export const message = (_: unknown, client: any) => client.send('second')\n")
        const peer = await Peer.open(await server.url(count))
        peer.send('?')
        assert.deepEqual(await peer.get(1), [text])
        peer.ws.terminate()
      }
    } finally {
      await killAll(server.child)
    }
  })

  it('type-checks a filter and a program strictly against its types', async () => {
    const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
    await exec(process.execPath, [tsc, '-p', cwd], cwd)
  })

  it('reports a type error in a filter, so the types are not any', async () => {
    const tsc = join(dirname(createRequire(import.meta.url).resolve('typescript/package.json')), 'bin/tsc')
    writeFileSync(
      join(cwd, 'wrong.ts'),
      `import type { Client, FilterModule, Payload } from 'filtered-websocket'
export const filter: FilterModule = { message: () => 5 }
export const message = (payload: Payload, client: Client) => client.sendd(payload)
`,
    )
    writeFileSync(join(cwd, 'tsconfig.wrong.json'), JSON.stringify({ ...TSCONFIG, files: ['wrong.ts'] }))
    await assert.rejects(exec(process.execPath, [tsc, '-p', join(cwd, 'tsconfig.wrong.json')], cwd), (error: Error) => {
      assert.deepEqual(error.message.match(/wrong\.ts\(\d+,\d+\): error TS\d+/g), [
        'wrong.ts(2,39): error TS2322',
        'wrong.ts(3,69): error TS2551',
      ])
      return true
    })
  })

  it('runs that program: createServer, the built-ins as modules, and the testing kit', async () => {
    const tsx = ['--import', import.meta.resolve('tsx'), 'program.ts']
    const printed = await exec(process.execPath, tsx, cwd)
    assert.deepEqual(JSON.parse(printed), {
      status: 426,
      received: ['HEY!'],
      code: 'ERR_OPTION',
      kinds: ['function', 'object', 'function', 'function'],
    })
  })
})

/** The targets of an export for any condition. */
function pathsIn(to: string | object): readonly string[] {
  return typeof to === 'string' ? [to] : Object.values(to).flatMap(pathsIn)
}

/** Kills a process group. */
async function killAll(child: ChildProcess): Promise<void> {
  try {
    process.kill(-child.pid!, 'SIGKILL')
  } catch {}
  await until(() => child.exitCode !== null || child.signalCode !== null, 'its end')
}
