import { addTo } from '../listeners.ts'
import { MessagingError } from './error.ts'
import { encode, type Id, type Kwargs, type Message } from './frame.ts'

/** Of the server, that are worked on; that wait for their instants; and that are remembered. */
const MAX_WORK = 1000
/** Bytes of an answer that is remembered. */
const MAX_ANSWER = 65_536
/** Characters. */
const MAX_TEXT = 1024

/** What is known of a message beside what it says. */
export interface Delivery {
  /** Somebody waits for the answer. */
  readonly id: Id | undefined
  /** It may have been done before: the server sent it again, and this page or process does not know it. */
  readonly repeated: boolean
  /** The instant at which it was to be done, in seconds since 1970 on the server's clock. */
  readonly at: number | undefined
  /** By which the server has broadcast it. */
  readonly topic: string | undefined
}

/** An answer. */
export interface Reply {
  readonly value?: unknown
  readonly error?: { readonly code: string; readonly message: string }
  /** Further fields of the header. */
  readonly fields?: Kwargs
  /** Content in the place of the value. */
  readonly bytes?: Uint8Array
}

/** Does something; what it answers is for those who ask. */
export type Handler = (message: Message, delivery: Delivery) => Reply | void | Promise<Reply | void>

/** What a client does for its server: actions one after the other, each request when the actions before it are done. */
export interface Work {
  readonly topics: readonly string[]
  /** Of a request the latest handler answers; actions and topics have as many as there are. Answers how to stop. */
  add(what: 'message' | 'request' | 'topic', name: string, handler: Handler): () => void
  take(message: Message): void
}

/**
 * @param failed - hears what handlers throw.
 * @param when - runs something at an instant of the server's clock.
 */
export function workOf(
  send: (frame: Uint8Array) => void,
  failed: (name: string, error: unknown) => void,
  when: (at: number, run: () => void) => void,
): Work {
  type Handlers = Map<string, Set<Handler>>
  const topics: Handlers = new Map()
  const handlers = { message: new Map() as Handlers, request: new Map() as Handlers, topic: topics }
  /** How what was done has been answered; `undefined`: it is being done. */
  const done = new Map<string, Uint8Array | undefined>()
  let turn = Promise.resolve()
  /** Apart, since an instant may be years away, and anybody in a room may have said it. */
  const counts = { now: 0, later: 0 }

  async function run(message: Message, delivery: Delivery): Promise<Uint8Array> {
    const { type, name, id } = message
    const found = [...(handlers[type as 'message'].get(name) ?? [])]
    if (type === 'request') found.splice(0, found.length - 1)
    else found.push(...(topics.get(delivery.topic!) ?? []))
    const answer = ({ value, error, fields, bytes }: Reply) =>
      encode(
        'response',
        { requested_value: name, request_id: id, error, ...fields },
        // In a list everything is something in JSON.
        bytes ?? `{"value":${JSON.stringify([value]).slice(1, -1)}}`,
      )
    try {
      const replies: (Reply | void)[] = []
      if (found.length === 0) throw new MessagingError('unknown', `there is no ${type} "${name}"`)
      for (const handler of found) replies.push(await handler(message, delivery))
      return answer(replies.at(-1) ?? {})
    } catch (error) {
      failed(name, error)
      const { code = 'failed', message = error } = Object(error)
      return answer({ error: { code: `${code}`, message: `${message}`.slice(0, MAX_TEXT) } })
    }
  }

  return {
    get topics() {
      return [...topics.keys()]
    },

    add(what, name, handler) {
      return addTo(handlers[what], name, handler)
    },

    take(message) {
      const { name, id, type, header } = message
      const { resend, at, topic } = header as { resend?: unknown; at?: number; topic?: string }
      const key = `${name} ${id}`
      // They go into the header of the answer, and are remembered.
      if (key.length > 2 * MAX_TEXT) throw new RangeError(`a name and an id of ${key.length} characters`)
      // Ids of other peers come again without this word, for something else.
      const repeated = resend === true
      if (repeated && done.has(key)) {
        const frame = done.get(key)
        if (frame) send(frame)
        return
      }
      const kind = at ? 'later' : 'now'
      if (counts[kind] >= MAX_WORK) {
        failed(name, new Error(`${MAX_WORK} messages ${at ? 'wait for their instants' : 'are worked on'}`))
        return
      }
      counts[kind]++
      if (id !== undefined) {
        done.delete(key)
        done.set(key, undefined)
        if (done.size > MAX_WORK) done.delete(done.keys().next().value!)
      }
      const work = async () => {
        const frame = await run(message, { id, repeated, at, topic })
        counts[kind]--
        if (id === undefined) return
        if (frame.length > MAX_ANSWER) done.delete(key)
        else if (done.has(key)) done.set(key, frame)
        send(frame)
      }
      // Out of the line: what comes meanwhile does not wait for the instant.
      if (at) when(at, work)
      else {
        const begun = turn.then(work)
        if (type === 'message') turn = begun
      }
    },
  }
}
