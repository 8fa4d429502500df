import type { Id } from '../../protocols/clever-show/frame.ts'
import { cut, type Kwargs, type Request } from '../../protocols/clever-show/message.ts'
import { MessagingError } from './error.ts'
import { type Action, MAX_CONTENT, type Outgoing } from './format.ts'
import { overload } from './overload.ts'
import type { Scheduler } from './scheduler.ts'

/** Stored responses, and the bytes of one. */
const MAX_RESPONSES = 1000
const MAX_RESPONSE = 65_536
/** Names of actions and requests about files. */
const FILES = /^(filetransfer|fws\.(part|hash))$/

/** How a message was delivered. */
export interface Delivery {
  /** The server waits for a response. */
  readonly id: Id | undefined
  /** The server sent it again and this process has no record of it: it may have been processed by an earlier process. */
  readonly repeated: boolean
  /** Start time in seconds since 1970 on the server's clock. */
  readonly at: number | undefined
  /** Topic of a broadcast. */
  readonly topic: string | undefined
}

/** Result of a message. */
export interface Result {
  readonly value?: unknown
  readonly error?: { readonly code: string; readonly message: string }
  /** Further fields of the header. */
  readonly fields?: Kwargs
  /** Content instead of the value. */
  readonly bytes?: Uint8Array
}

// biome-ignore lint/suspicious/noExplicitAny: handlers of topics have one more parameter, the name of the action
export type Handler = (...parameters: any[]) => unknown

/**
 * Runs the handlers of the server's messages: actions one after the other, requests when the earlier actions are done.
 *
 * @param onError - called with errors of handlers.
 * @param scheduler - runs actions with a start time.
 * @param onFile - handles messages about files.
 */
export function taskQueueOf(
  send: (response: Outgoing) => void,
  onError: (name: string, error: unknown) => void,
  scheduler: Scheduler,
  onFile: (message: Action | Request) => Promise<Result>,
) {
  const handlers: Record<string, Map<string, Set<Handler>>> = {
    message: new Map(),
    request: new Map(),
    topic: new Map(),
  }
  /** Responses by name and id, for resends; `undefined` while the handlers run. */
  const responses = new Map<string, { sent?: Outgoing }>()
  let lastAction = Promise.resolve()
  /** Running and queued messages. Scheduled ones have their own limit, as their start may be years away. */
  let [messages, bytes] = [0, 0]

  async function run(message: Action | Request, delivery: Delivery): Promise<Result> {
    const { type, name, args, kwargs } = message
    const own = [...(handlers[type]!.get(name) ?? [])]
    const ofTopic = [...(handlers.topic!.get(delivery.topic!) ?? [])]
    if (own.length === 0 && FILES.test(name)) return onFile(message)
    if (own.length + ofTopic.length === 0) throw new MessagingError('unknown', `there is no ${type} "${name}"`)
    if (type === 'request') return { value: await own.at(-1)!(args, kwargs, delivery) }
    for (const handler of own) await handler(args, kwargs, delivery)
    for (const handler of ofTopic) await handler(name, args, kwargs, delivery)
    return {}
  }

  async function respond(message: Action | Request, delivery: Delivery, refusal: unknown): Promise<Outgoing> {
    const { name, id } = message
    const response = ({ value, error, fields, bytes }: Result): Outgoing => ({
      type: 'response',
      name,
      id,
      fields: { error, ...fields },
      // In an array, JSON has a form for every value.
      content: bytes ?? limited(`{"value":${JSON.stringify([value]).slice(1, -1)}}`),
    })
    try {
      if (refusal) throw refusal
      return response(await run(message, delivery))
    } catch (error) {
      onError(name, error)
      return response({ error: failureOf(error) })
    }
  }

  return {
    topics: handlers.topic!,
    /** Adds a handler. All handlers of an action or topic run, but only the last one of a request. @returns removes it. */
    add: (kind: 'message' | 'request' | 'topic', name: string, handler: Handler) =>
      addTo(handlers[kind]!, name, handler),

    /** @param size - bytes of the message. */
    accept(message: Action | Request, size: number): void {
      const { name, id, type, resend: repeated = false } = message
      const { at, topic } = message as Action
      const key = `${name} ${id}`
      // Without `resend`, clever-show uses an id again for another message.
      const earlier = repeated && responses.get(key)
      if (earlier) {
        if (earlier.sent) send(earlier.sent)
        return
      }
      const response: { sent?: Outgoing } = {}
      const check = () => overload(messages + 1, bytes + size)
      const start = async (refusal: unknown, previous?: Promise<void>) => {
        messages++
        bytes += size
        if (!refusal) await previous
        const sent = await respond(message, { id, repeated, at, topic }, refusal)
        messages--
        bytes -= size
        if (id === undefined) return
        response.sent = sent
        // A refused message may be sent again, and a large response is not stored.
        if ((refusal || sent.content.length > MAX_RESPONSE) && responses.get(key) === response) responses.delete(key)
        send(sent)
      }
      const isScheduled = at !== undefined
      const refusal = isScheduled ? undefined : check()
      if (id !== undefined && !refusal) {
        responses.delete(key)
        responses.set(key, response)
        if (responses.size > MAX_RESPONSES) responses.delete(responses.keys().next().value!)
      }
      if (isScheduled) scheduler.add({ at, size, run: error => void start(error ?? check()) })
      else {
        const done = start(refusal, lastAction)
        if (type === 'message' && !refusal) lastAction = done
      }
    },
  }
}

/** An error for the server; handlers can throw any value. */
function failureOf(error: unknown): NonNullable<Result['error']> {
  try {
    const { code = 'failed', message = error } = Object(error)
    return { code: cut(`${code}`), message: cut(`${message}`) }
  } catch {
    return { code: 'failed', message: 'the error has no string form' }
  }
}

/** @throws RangeError */
function limited(content: string): string {
  if (content.length * 3 > MAX_CONTENT && new TextEncoder().encode(content).length > MAX_CONTENT)
    throw new RangeError(`a content has at most ${MAX_CONTENT} bytes`)
  return content
}

/** Adds an item to the set of a name; empty sets are deleted. @returns removes the item. */
function addTo<K, T>(sets: Map<K, Set<T>>, name: K, item: T): () => void {
  const set = sets.get(name) ?? new Set()
  sets.set(name, set.add(item))
  return () => {
    if (set.delete(item) && set.size === 0) sets.delete(name)
  }
}
