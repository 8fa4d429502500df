import type { Id } from '../../protocols/clever-show/frame.ts'
import { cut, type Kwargs, type Request } from '../../protocols/clever-show/message.ts'
import { addTo } from '../listeners.ts'
import { busy, isTooMuch } from './bounds.ts'
import { MessagingError } from './error.ts'
import { type Action, encode } from './format.ts'
import type { Later } from './later.ts'

/** Answers that are remembered, and bytes of one. */
const MAX_ANSWERS = 1000
const MAX_ANSWER = 65_536
/** What is asked and said about files. */
const FILES = /^(filetransfer|fws\.(part|hash))$/

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

/** Does something; of a request the answer is what it returns. Of a topic, the name of the action comes first. */
// biome-ignore lint/suspicious/noExplicitAny: of a topic it takes one more
export type Handler = (...said: any[]) => unknown

/** What a client does for its server: actions one after the other, each request when the actions before it are done. */
export interface Work {
  readonly topics: ReadonlyMap<string, unknown>
  /** Of a request the latest handler answers; actions and topics have as many as there are. Answers how to stop. */
  add(what: 'message' | 'request' | 'topic', name: string, handler: Handler): () => void
  /** @param size - bytes of it. */
  take(message: Action | Request, size: number): void
}

/**
 * @param failed - hears what handlers throw.
 * @param later - takes what is to be done at an instant.
 * @param answerFile - answers what is about files.
 */
export function workOf(
  send: (frame: Uint8Array) => void,
  failed: (name: string, error: unknown) => void,
  later: Later,
  answerFile: (message: Action | Request) => Promise<Reply>,
): Work {
  const handlers: Record<string, Map<string, Set<Handler>>> = {
    message: new Map(),
    request: new Map(),
    topic: new Map(),
  }
  /** How what was done has been answered, or nothing yet. */
  const done = new Map<string, { frame?: Uint8Array }>()
  let turn = Promise.resolve()
  /** Without what waits for its instant: that may be years away, and anybody in a room may have said it. */
  let [count, bytes] = [0, 0]

  async function reply(message: Action | Request, delivery: Delivery): Promise<Reply> {
    const { type, name, args, kwargs } = message
    const found = [...(handlers[type]!.get(name) ?? [])]
    const others = [...(handlers.topic!.get(delivery.topic!) ?? [])]
    if (found.length === 0 && FILES.test(name)) return answerFile(message)
    if (found.length + others.length === 0) throw new MessagingError('unknown', `there is no ${type} "${name}"`)
    if (type === 'request') return { value: await found.at(-1)!(args, kwargs, delivery) }
    for (const handler of found) await handler(args, kwargs, delivery)
    for (const handler of others) await handler(name, args, kwargs, delivery)
    return {}
  }

  async function run(message: Action | Request, delivery: Delivery, why: unknown): Promise<Uint8Array> {
    const { name, id } = message
    const answer = ({ value, error, fields, bytes }: Reply) =>
      encode(
        'response',
        name,
        id,
        { error, ...fields },
        // In a list everything is something in JSON.
        bytes ?? `{"value":${JSON.stringify([value]).slice(1, -1)}}`,
      )
    try {
      if (why) throw why
      return answer(await reply(message, delivery))
    } catch (error) {
      failed(name, error)
      return answer({ error: errorOf(error) })
    }
  }

  return {
    topics: handlers.topic!,
    add: (what, name, handler) => addTo(handlers[what]!, name, handler),

    take(message, size) {
      const { name, id, type, resend: repeated = false } = message
      const { at, topic } = message as Action
      const key = `${name} ${id}`
      // Ids of other peers come again without `resend`, for something else.
      const before = repeated && done.get(key)
      if (before) {
        if (before.frame) send(before.frame)
        return
      }
      const answer: { frame?: Uint8Array } = {}
      const refusal = () => (isTooMuch(count + 1, bytes + size) ? busy() : undefined)
      const begin = async (why: unknown, before?: Promise<void>) => {
        count++
        bytes += size
        if (!why) await before
        const frame = await run(message, { id, repeated, at, topic }, why)
        count--
        bytes -= size
        if (id === undefined) return
        answer.frame = frame
        // What has not been done may be said again.
        if ((why || frame.length > MAX_ANSWER) && done.get(key) === answer) done.delete(key)
        send(frame)
      }
      const isLater = at !== undefined
      const why = isLater ? undefined : refusal()
      if (id !== undefined && !why) {
        done.delete(key)
        done.set(key, answer)
        if (done.size > MAX_ANSWERS) done.delete(done.keys().next().value!)
      }
      // Out of the line: what comes meanwhile does not wait for the instant.
      if (isLater) return later.add({ at, size, run: why => void begin(why ?? refusal()) })
      const begun = begin(why, turn)
      if (type === 'message' && !why) turn = begun
    },
  }
}

/** What is told of what was thrown, which may be anything. */
function errorOf(thrown: unknown): NonNullable<Reply['error']> {
  try {
    const { code = 'failed', message = thrown } = Object(thrown)
    return { code: cut(`${code}`), message: cut(`${message}`) }
  } catch {
    return { code: 'failed', message: 'what was thrown cannot be said' }
  }
}
