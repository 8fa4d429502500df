import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { until } from './peer.ts'
import { freePort } from './port.ts'
import { NO_REDIS, redisBinary } from './redis-binary.ts'
import { command, type Reply } from './redis-command.ts'

/** Directives of redis.conf: name (with the first arguments of a repeatable directive) and value. */
export type RedisConfig = Readonly<Record<string, string>>

/** PEM strings of a self-signed certificate; clients need none. */
export interface RedisTls {
  readonly key: string
  readonly cert: string
}

export interface RedisOptions {
  /** Default: a free port. */
  readonly port?: number
  readonly config?: RedisConfig
  /** All connections are TLS. */
  readonly tls?: RedisTls
}

export interface RedisServer {
  readonly port: number
  readonly url: string
  /** `undefined` for the server of REDIS_URL, which cannot be paused or killed; `skipWithoutOwn` skips such tests. */
  readonly pid: number | undefined
  /** Sends a command over its own connection. @throws (rejects) the error reply of Redis. */
  command(...args: string[]): Promise<Reply>
  /** Stops its process with SIGSTOP: the system still accepts connections, but nothing is answered. */
  pause(): void
  resume(): void
  /** Kills it, and waits for its exit. */
  kill(): Promise<void>
  /** Kills it if it runs, and starts it empty on the same port. */
  restart(): Promise<void>
  /** Kills it and removes its folder; also after `kill`, and twice. */
  stop(): Promise<void>
}

/** Starts a server without persistence on loopback. */
export async function startOwn(options: RedisOptions, args: readonly string[] = []): Promise<OwnRedis> {
  const binary = redisBinary()
  if (binary === undefined) throw new Error(NO_REDIS)
  const cluster = options.config?.['cluster-enabled'] === 'yes'
  for (let tries = 0; ; tries++) {
    const port = options.port ?? (await freePort(...(cluster ? [BUS] : [])))
    const server = new OwnRedis(binary, port, options, args)
    try {
      await server.start()
      return server
    } catch (error) {
      await server.stop()
      // Another process may take the port before the start.
      const taken = options.port === undefined && /address already in use/i.test(String(error))
      if (!taken || tries === 5) throw error
    }
  }
}

/** Offset of the cluster bus port of a node. */
const BUS = 10_000

/**
 * Runs a server until standard input ends, so that Redis also ends when the test process is killed. $0 is its folder. Exits with the
 * server.
 */
const GUARD = `
  exec 4<&0
  "$@" 4<&- & server=$!
  echo "pid $server"
  (read -r _ <&4; trap '' TERM; kill -9 $server; rm -rf "$0") >/dev/null 2>&1 & guard=$!
  wait $server
  kill $guard; wait $guard
`

class OwnRedis implements RedisServer {
  readonly port: number
  readonly url: string
  readonly #folder = mkdtempSync(join(tmpdir(), 'fws-redis-'))
  readonly #run: readonly string[]
  readonly #ca: { ca?: string } = {}
  #guard: ChildProcess | undefined
  #gone: Promise<void> = Promise.resolve()
  #log = ''

  constructor(binary: string, port: number, { config = {}, tls }: RedisOptions, args: readonly string[]) {
    const file = join(this.#folder, 'redis.conf')
    const password = config.requirepass === undefined ? '' : `:${encodeURIComponent(config.requirepass)}@`
    this.port = port
    this.url = `${tls === undefined ? 'redis' : 'rediss'}://${password}127.0.0.1:${port}`
    this.#run = [binary, file, ...args]
    if (tls !== undefined) this.#ca.ca = tls.cert
    const all = { ...PLAIN, dir: this.#folder, port: String(port), ...this.#tls(tls), ...config }
    writeFileSync(
      file,
      Object.entries(all)
        .map(([name, value]) => `${name} ${value}\n`)
        .join(''),
    )
  }

  #tls(tls: RedisTls | undefined): RedisConfig {
    if (tls === undefined) return {}
    const [key, cert] = [join(this.#folder, 'key.pem'), join(this.#folder, 'cert.pem')]
    writeFileSync(key, tls.key)
    writeFileSync(cert, tls.cert)
    const files = { 'tls-key-file': key, 'tls-cert-file': cert, 'tls-ca-cert-file': cert }
    return { port: '0', 'tls-port': String(this.port), 'tls-auth-clients': 'no', ...files }
  }

  get pid(): number {
    return Number(/^pid (\d+)$/m.exec(this.#log)![1])
  }

  async start(): Promise<void> {
    this.#log = ''
    // In its own session: the guard must outlive an interrupted test process.
    const guard = spawn('/bin/sh', ['-c', GUARD, this.#folder, ...this.#run], { detached: true })
    this.#guard = guard
    guard.stdin.on('error', () => {})
    for (const output of [guard.stdout, guard.stderr]) {
      output.setEncoding('utf8').on('data', text => {
        this.#log += text
      })
    }
    this.#gone = new Promise(resolve => guard.once('close', () => resolve()))
    guard.once('close', () => {
      this.#guard = undefined
    })
    await until(() => {
      if (this.#guard === undefined) throw new Error(`redis exited at start:\n${this.#log}`)
      return /^pid \d+$/m.test(this.#log) && /Ready to accept connections|Sentinel ID is/.test(this.#log)
    }, `redis on port ${this.port}`)
  }

  command(...args: string[]): Promise<Reply> {
    return command(this.url, args, { ...this.#ca, checkServerIdentity: () => undefined })
  }

  pause(): void {
    this.#signal('SIGSTOP')
  }

  resume(): void {
    this.#signal('SIGCONT')
  }

  async kill(): Promise<void> {
    this.#signal('SIGKILL')
    await this.#gone
  }

  async restart(): Promise<void> {
    await this.kill()
    await this.start()
  }

  async stop(): Promise<void> {
    this.#guard?.stdin?.end()
    await this.#gone
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #signal(signal: NodeJS.Signals): void {
    if (this.#guard !== undefined) process.kill(this.pid, signal)
  }
}

const PLAIN: RedisConfig = { bind: '127.0.0.1', save: '""', appendonly: 'no', 'repl-diskless-sync-delay': '0' }
