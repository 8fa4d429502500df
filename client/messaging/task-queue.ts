import type { Id } from '../../protocols/clever-show/frame.ts'
import { bare, readObject } from '../../protocols/clever-show/json.ts'
import { actionOf, cut, type Kwargs, type Request } from '../../protocols/clever-show/message.ts'
import { messageIn } from '../../protocols/clever-show/text.ts'
import { MessagingError } from './error.ts'
import { type Action, MAX_CONTENT, type Outgoing } from './format.ts'
import { overload, schedulerOf } from './scheduler.ts'
import type { Clock } from './server-time.ts'

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
/** Handlers by the name of their action, request or topic. All of an action or topic run, but only the last one of a request. */
export type Handlers = Readonly<Record<'message' | 'request' | 'topic', ReadonlyMap<string, ReadonlySet<Handler>>>>

/** A message from its parsed JSON. @throws Malformed */
const messageOf = (json: Kwargs) => messageIn(bare(json)) as Action | Request | undefined

/** A string that is an action, without its id as it cannot be answered. */
function actionIn(data: string | ArrayBuffer): Action | undefined {
  try {
    const json = readObject(data as string, JSON.parse, '')
    return actionOf(json, 'action', json, undefined)
  } catch {
    return undefined
  }
}

/** Functions that read messages. */
export interface Reader {
  readonly messageOf: typeof messageOf
  readonly actionIn: typeof actionIn
}

/**
 * Processes an action or a request of the server.
 *
 * @param read - reads it; `undefined`: there is no message.
 * @param size - bytes of the message.
 * @param onUnreadable - called with the error of `read`.
 */
export type Accept = (
  read: (reader: Reader) => Action | Request | undefined,
  size: number,
  onUnreadable: (error: unknown) => void,
) => void

/**
 * Runs the handlers of the server's messages: actions one after the other, requests when the earlier actions are done.
 *
 * @param builtIn - handlers of requests for which there is no other.
 * @param onError - called with errors of handlers.
 * @param clock - actions with a start time run by it.
 * @param onFile - handles messages about files.
 */
export function taskQueueOf(
  handlers: Handlers,
  builtIn: Readonly<Record<string, () => unknown>>,
  send: (response: Outgoing) => void,
  onError: (name: string, error: unknown) => void,
  clock: Clock,
  onFile: (message: Action | Request) => Promise<Result>,
) {
  const scheduler = schedulerOf(clock)
  /** Responses by name and id, for resends; `undefined` while the handlers run. */
  const responses = new Map<string, { sent?: Outgoing }>()
  let lastAction = Promise.resolve()
  /** Running and queued messages. Scheduled ones have their own limit, as their start may be years away. */
  let [messages, bytes] = [0, 0]

  async function run(message: Action | Request, delivery: Delivery): Promise<Result> {
    const { type, name, args, kwargs } = message
    const own = [...(handlers[type].get(name) ?? [])]
    const ofTopic = [...(handlers.topic.get(delivery.topic!) ?? [])]
    if (own.length === 0 && FILES.test(name)) return onFile(message)
    if (own.length === 0 && type === 'request' && Object.hasOwn(builtIn, name)) own.push(builtIn[name]!)
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

  function accept(message: Action | Request, size: number): void {
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
  }

  return {
    stop: scheduler.stop,
    accept: ((read, size, onUnreadable) => {
      try {
        const message = read({ messageOf, actionIn })
        if (message) accept(message, size)
      } catch (error) {
        onUnreadable(error)
      }
    }) satisfies Accept,
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
