import { type ChildProcess, spawn } from 'node:child_process'
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { freePort } from './port.ts'
import { NO_REDIS, redisBinary } from './redis-binary.ts'
import { command, type Reply } from './redis-command.ts'

/** Directives of redis.conf: name (the first words of one that may come several times) and value. */
export type RedisConfig = Readonly<Record<string, string>>

/** PEM texts; the certificate is its own authority, and clients need none. */
export interface RedisTls {
  readonly key: string
  readonly cert: string
}

export interface RedisOptions {
  /** Default: a free one. */
  readonly port?: number
  readonly config?: RedisConfig
  /** All connections are TLS. */
  readonly tls?: RedisTls
}

export interface RedisServer {
  readonly port: number
  readonly url: string
  /** undefined: the server of REDIS_URL, which can be neither paused nor killed; so are skipped with `skipWithoutOwn`. */
  readonly pid: number | undefined
  /** One command over a connection of its own; an error that Redis answers is thrown. */
  command(...args: string[]): Promise<Reply>
  /** Stops its process: connections stay, the system still accepts new ones, nothing is answered. */
  pause(): void
  resume(): void
  /** As a crash; resolves when it is gone. */
  kill(): Promise<void>
  /** Again on the same port, empty; kills it first if it runs. */
  restart(): Promise<void>
  /** The end of it and of its folder; also after `kill`, and twice. */
  stop(): Promise<void>
}

/** Starts one without persistence on loopback. */
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
      // Another test process took the port between our look and our start.
      const taken = options.port === undefined && /address already in use/i.test(String(error))
      if (!taken || tries === 5) throw error
    }
  }
}

/** How far the bus of a cluster's node is from its port. */
const BUS = 10_000

/**
 * Runs a server until its own standard input ends: also when we are killed, after which Redis would live on. The folder is
 * its $0. Exits when the server is gone, however it went.
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
    // In a session of its own: an interrupt in the terminal is for the tests, and the guard must outlive them.
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
    await eventually(() => {
      if (this.#guard === undefined) throw new Error(`redis ended at once:\n${this.#log}`)
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

/** As `until`, for what Redis must be asked. */
export async function eventually(
  condition: () => boolean | Promise<boolean>,
  what: string,
  ms = 20_000,
): Promise<void> {
  const deadline = Date.now() + ms
  while (!(await condition())) {
    if (Date.now() > deadline) throw new Error(`waited ${ms} ms for ${what}`)
    await sleep(10)
  }
}
