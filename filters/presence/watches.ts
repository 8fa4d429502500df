import { Duplex } from 'node:stream'
import {
  type About,
  type Attached,
  type Client,
  type Codec,
  type LossReason,
  type Payload,
  PRESENCE,
  type Server,
  type Transport,
} from 'filtered-websocket'
import type { PresenceChange } from './api.ts'

type OnChange = (change: PresenceChange) => void

const NOTHING = Buffer.alloc(0)
const frame = () => NOTHING

/** The functions that watch topics. They share one client of this server, which has no connection. */
export class Watches {
  readonly #server: Server
  readonly #failed: (error: unknown) => void
  readonly #watching = new Map<string, Set<OnChange>>()
  #client: Client | undefined
  /** Sends nothing. */
  readonly #codec: Codec = {
    name: 'presence',
    encode: (payload: Payload, _format: string | undefined, about?: About) => {
      // It also gets what is sent to all clients.
      if (about !== undefined && this.#watching.has(about.topic)) this.#call(about.topic, JSON.parse(String(payload)))
      return undefined
    },
    lost: ({ topic }: About, reason: LossReason) => {
      this.#call(topic, { lost: reason })
      return undefined
    },
  }

  /** @param failed - called with the errors of the functions. */
  constructor(server: Server, failed: (error: unknown) => void) {
    this.#server = server
    this.#failed = failed
  }

  /** @throws FwsError `ERR_LIMIT` past `--max-clients`. */
  watch(topic: string, onChange: OnChange): () => void {
    const stream = PRESENCE + topic
    const client = this.#client ?? this.#attach()
    let functions = this.#watching.get(stream)
    if (functions === undefined) {
      functions = new Set()
      this.#watching.set(stream, functions)
      client.join(stream)
    }
    // The same function may watch twice.
    const own: OnChange = change => onChange(change)
    functions.add(own)
    return () => {
      if (!functions.delete(own) || functions.size > 0) return
      this.#watching.delete(stream)
      this.#client?.leave(stream)
    }
  }

  /**
   * Watches again after its client was disconnected, for example by `server.disconnect({ topic })`. Call it repeatedly: the server may be
   * full.
   */
  look(): void {
    if (this.#client !== undefined || this.#watching.size === 0 || this.#server.checks.accepting !== true) return
    try {
      this.#attach()
    } catch (error) {
      this.#failed(error)
    }
  }

  /** A client that watches all topics. */
  #attach(): Client {
    const transport = new Nowhere()
    const attached = this.#server.attach(transport, { after: Number.MAX_SAFE_INTEGER })
    const { client } = attached
    transport.attached = attached
    this.#client = client
    client.codec = this.#codec
    client.onGone(() => {
      this.#client = undefined
      this.look()
    })
    for (const stream of this.#watching.keys()) {
      client.join(stream)
      this.#call(stream, { lost: 'trimmed' })
    }
    return client
  }

  #call(stream: string, change: PresenceChange): void {
    for (const onChange of this.#watching.get(stream) ?? []) {
      try {
        onChange(change)
      } catch (error) {
        this.#failed(error)
      }
    }
  }
}

/** A connection to nowhere: the codec sends nothing. */
class Nowhere implements Transport {
  readonly name = 'presence'
  readonly remote = 'presence'
  readonly frame = frame
  readonly socket = new Duplex({ read() {}, write: (_chunk, _encoding, done) => done() })
  attached: Attached | undefined

  pause(): void {}
  resume(): void {}

  close(code: number, reason: string): void {
    this.attached?.closed(code, reason, true)
  }

  destroy(): void {
    this.attached?.closed(1006, '', false)
  }
}
