import type { ServerResponse } from 'node:http'
import type { Client, Payload, Server } from 'filtered-websocket'
import { traceFields } from 'filtered-websocket/kit'
import { jsonLine } from './json.ts'

const MAX_TRACES = 4
/** Unsent bytes of a reader that is too slow. */
const MAX_UNSENT = 1_048_576
/** Characters of a message in which secrets are searched, and that are shown. */
const MAX_SEARCHED = 16_384
const MAX_SHOWN = 1000
/** Milliseconds between looks for the client, and for a reader to take the last lines. */
const [CHECK_MS, CLOSE_MS] = [1000, 5000]
const PARAMETERS = ['client', 'seconds', 'lines']

/** Why a trace has ended; its last line. */
type End = 'seconds' | 'lines' | 'client gone' | 'slow reader'

/** A refusal: HTTP status and reason. */
type Refusal = readonly [status: number, reason: string]

/** Traces of the calls of handlers, each as the body of a response. Bounded in number, time, lines and unsent bytes. */
export class Traces {
  readonly #server: Server
  readonly #redact: ((text: string) => string) | undefined
  #running = 0
  /** The last text without its secrets: most handlers pass a message unchanged to the next one. */
  #last = { payload: '', data: '' }

  /** @param redact - hides secrets; `undefined`: payloads are not shown. */
  constructor(server: Server, redact: ((text: string) => string) | undefined) {
    this.#server = server
    this.#redact = redact
  }

  /** Begins a trace, or returns why not. */
  begin(asked: URLSearchParams, res: ServerResponse): Refusal | undefined {
    if ([...asked.keys()].some(name => !PARAMETERS.includes(name)))
      return [400, `unknown parameter; /trace takes ${PARAMETERS.join(', ')}`]
    const [seconds, lines] = [numberIn(asked, 'seconds', 60, 600), numberIn(asked, 'lines', 1000, 10_000)]
    if (seconds === undefined) return [400, 'seconds is a whole number from 1 to 600']
    if (lines === undefined) return [400, 'lines is a whole number from 1 to 10000']
    const id = asked.get('client')
    const client = id === null ? undefined : this.#server.clients.get(id)
    if (id !== null && client === undefined) return [404, 'no client has this id']
    if (this.#running === MAX_TRACES) return [503, `${MAX_TRACES} traces run already`]
    this.#run(client, seconds * 1000, lines, res)
    return undefined
  }

  #run(client: Client | undefined, ms: number, lines: number, res: ServerResponse): void {
    this.#running++
    res.writeHead(200, { 'content-type': 'application/x-ndjson', 'cache-control': 'no-store', connection: 'close' })
    res.flushHeaders()
    // Its own limit of time counts, also while there are no calls.
    res.socket?.setTimeout(0)
    let written = 0
    const stopObserving = this.#server.observe(call => {
      if (client !== undefined && call.client !== client.id) return
      res.write(`${jsonLine({ at: Date.now(), ...traceFields(call, this.#shown) })}\n`)
      if (++written === lines) end('lines')
      else if (res.writableLength > MAX_UNSENT) end('slow reader')
    })
    let isGone = false
    const check = () => {
      // Handlers may run for a while after the connection has ended.
      if (isGone) end('client gone')
      isGone = client !== undefined && !this.#server.clients.has(client.id)
    }
    const timers = [setTimeout(() => end('seconds'), ms).unref(), setInterval(check, CHECK_MS).unref()]
    const stop = () => {
      stopObserving()
      for (const timer of timers) clearTimeout(timer)
    }
    const end = (why: End) => {
      stop()
      if (res.writableEnded) return
      res.end(`${jsonLine({ end: why, lines: written })}\n`)
      setTimeout(() => res.destroy(), CLOSE_MS).unref()
    }
    res.once('close', () => {
      stop()
      this.#running--
    })
  }

  /** Of binary payloads only the size: secrets cannot be found in them. */
  readonly #shown = (payload: Payload): object => {
    const bytes = Buffer.byteLength(payload)
    if (this.#redact === undefined || typeof payload !== 'string' || payload.length > MAX_SEARCHED) return { bytes }
    if (payload !== this.#last.payload) this.#last = { payload, data: this.#redact(payload).slice(0, MAX_SHOWN) }
    return { bytes, data: this.#last.data }
  }
}

function numberIn(asked: URLSearchParams, name: string, byDefault: number, max: number): number | undefined {
  const text = asked.get(name) ?? String(byDefault)
  const value = /^\d{1,6}$/.test(text) ? Number(text) : 0
  return value >= 1 && value <= max ? value : undefined
}
