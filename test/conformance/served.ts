import assert from 'node:assert/strict'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { after, before, describe, it } from 'node:test'
import { closeLabel } from '../../src/contract/close.ts'
import type { Payload } from '../../src/index.ts'
import { type Launched, launch } from '../support/cli.ts'
import { CLOSE, RawPeer } from '../support/frames.ts'
import { metricsOf } from '../support/metrics.ts'
import { until } from '../support/peer.ts'
import { root } from '../support/root.ts'
import { fingerprint } from './filters/fingerprint.ts'

type Headers = Readonly<Record<string, string>>

/** The log events of one client. */
interface ClientLog {
  messages: string[]
  code: number | undefined
}

const filter = (name: string) => join(root, 'test/conformance/filters', `${name}.ts`)

/** Each has other components between the socket and the filters. */
const SETUPS = [
  { name: 'with an empty chain', filters: [] },
  { name: 'behind a data filter', filters: [filter('tap')] },
  { name: 'before a slow message filter', filters: [filter('slow')] },
]

/** The built command, once per setup; `define` declares cases for all of them. */
export function onEachServer(options: readonly string[], define: (served: Served) => void): void {
  for (const { name, filters } of SETUPS) {
    describe(`a server ${name}`, () => {
      const served = new Served([...options, '-f', 'health', filter('leaving'), ...filters], filters.length > 0)
      before(() => served.start())
      after(() => served.end())
      define(served)
      it('reported no error, and closed with the expected codes', () => served.check())
    })
  }
}

/** A server under test, and a client that must not be affected by the others. */
export class Served {
  readonly #argv: readonly string[]
  readonly #seesMessages: boolean
  readonly #undo: (() => void | Promise<void>)[] = []
  readonly #cases = new Map<string, ClientLog>()
  #server!: Launched
  #witness!: RawPeer
  #asking: Promise<void> | undefined
  /** Messages received before the current case. */
  #messages = 0

  /** @param seesMessages - whether it logs messages; otherwise they are only counted. */
  constructor(argv: readonly string[], seesMessages: boolean) {
    this.#argv = argv
    this.#seesMessages = seesMessages
  }

  async start(): Promise<void> {
    const argv = ['--port', '0', '--health-port', '0', '--drain', '0', ...this.#argv]
    // A ping of the server would be one more frame for tests that take longer.
    this.#server = await launch({ after: fn => this.#undo.push(fn) }, [...argv, '--heartbeat', '0'])
    createInterface({ input: this.#server.child.stderr! }).on('line', line => this.#read(JSON.parse(line)))
    this.#witness = await RawPeer.open(this.#server.url)
  }

  async end(): Promise<void> {
    for (const undo of this.#undo) await undo()
  }

  get url(): string {
    return this.#server.url
  }

  /**
   * Opens a client.
   *
   * @param extra - bytes in the same write as its handshake.
   */
  async open(headers: Headers = {}, extra?: Buffer): Promise<Case> {
    const id = `${this.#cases.size}`
    const seen: ClientLog = { messages: [], code: undefined }
    this.#cases.set(id, seen)
    if (!this.#seesMessages) this.#messages = await this.#received()
    return new Case(this, await RawPeer.open(this.url, { ...headers, 'X-Case': id }, extra), seen)
  }

  /** The other clients are not affected. */
  async isWell(): Promise<void> {
    // One ping at a time for all callers: more than 100 in one read would disconnect the client.
    this.#asking ??= this.#witness.roundTrip().finally(() => {
      this.#asking = undefined
    })
    await this.#asking
  }

  /** Waits until the messages of the current case are received, and handled if a filter handles them. */
  async received(seen: readonly string[], expected: readonly Payload[]): Promise<void> {
    if (this.#seesMessages) {
      await until(() => seen.length >= expected.length, `${expected.length} handled messages, got ${seen.length}`)
      assert.deepEqual(seen, expected.map(fingerprint))
    } else {
      const count = async () => (await this.#received()) - this.#messages
      await until(async () => (await count()) >= expected.length, `${expected.length} messages`)
      assert.equal(await count(), expected.length)
    }
  }

  async check(): Promise<void> {
    const codes = [...this.#cases.values()].flatMap(({ code }) => (code === undefined ? [] : [code]))
    const metrics = await metricsOf(this.#server)
    const labels = codes.map(closeLabel)
    for (const label of new Set(labels)) {
      const count = labels.filter(other => other === label).length
      assert.equal(metrics.get(`fws_closed_total{code="${label}"}`), count, `closes with ${label}`)
    }
    assert.equal(metrics.get('fws_errors_total'), 0)
    const worse = this.#server.logged().filter(({ level }) => Number(level) > 30)
    assert.deepEqual(worse, [])
  }

  async #received(): Promise<number> {
    return (await metricsOf(this.#server)).get('fws_messages_received_total')!
  }

  #read({ case: id, message, code }: Record<string, unknown>): void {
    const seen = this.#cases.get(String(id))
    if (seen === undefined) return
    if (code !== undefined) seen.code = Number(code)
    else seen.messages.push(String(message))
  }
}

/** A client that sends valid or invalid frames. */
export class Case {
  readonly peer: RawPeer
  readonly #served: Served
  readonly #seen: Readonly<ClientLog>

  constructor(served: Served, peer: RawPeer, seen: Readonly<ClientLog>) {
    this.#served = served
    this.peer = peer
    this.#seen = seen
  }

  /** Asserts exactly the messages that the server received from it. */
  received(...expected: readonly Payload[]): Promise<void> {
    return this.#served.received(this.#seen.messages, expected)
  }

  /** Asserts one Close frame with this code after these opcodes, the end of the connection, and the same code in the disconnect chain. */
  async closedWith(code: number, opcodes: readonly number[] = []): Promise<void> {
    assert.equal(await this.peer.end(), code)
    assert.deepEqual(
      this.peer.frames.map(({ opcode }) => opcode),
      [...opcodes, CLOSE],
    )
    await this.leftWith(code)
    await this.#served.isWell()
  }

  /** Asserts the code in its disconnect chain. */
  async leftWith(code: number): Promise<void> {
    await until(() => this.#seen.code !== undefined, 'the disconnect chain')
    assert.equal(this.#seen.code, code)
  }

  /** Writes the bytes one by one. */
  async drip(bytes: Buffer): Promise<void> {
    for (const byte of bytes) {
      if (this.peer.isClosed) return
      await new Promise(resolve => this.peer.socket.write(Buffer.from([byte]), resolve))
    }
  }
}
