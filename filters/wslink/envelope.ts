import { violation } from './fatal.ts'

/** What a client asks for (wslink, section 0). */
export interface Request {
  /** Echoed in the reply, whatever it is. */
  readonly id: string
  readonly method: string
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
}

/** What the server says: the reply to a request, or a publish. */
export type Envelope =
  | { readonly wslink: '1.0'; readonly id: string; readonly result: unknown }
  | { readonly wslink: '1.0'; readonly id: string; readonly error: Failure }

export interface Failure {
  readonly code: number
  readonly message: string
  readonly data?: unknown
}

/** Topics that the official clients hear: all others they drop without a word. */
const TOPIC = /^\w+(\.\w+)*$/
/** Characters of a topic; those that clients listen to are kept. */
const MAX_TOPIC = 256

/**
 * The request that a decoded message is; `undefined` when there is nothing to answer.
 *
 * @throws Fatal
 */
export function readRequest(message: unknown): Request | undefined {
  if (!isMap(message) || message.id === undefined) return undefined
  const { id, method, args, kwargs } = message
  if (typeof id !== 'string') throw violation(`the id of a message is a string, received ${typeOf(id)}`)
  if (typeof method !== 'string') throw violation(`a message names its method, received ${typeOf(method)}`)
  return { id, method, args: Array.isArray(args) ? args : [], kwargs: isMap(kwargs) ? kwargs : {} }
}

export function resultOf(id: string, result: unknown): Envelope {
  return { wslink: '1.0', id, result: result ?? null }
}

/** The count at its end is always 0, as in the original. */
export function publishOf(topic: string, data: unknown): Envelope {
  return resultOf(`publish:${topic}:0`, data)
}

/** @throws TypeError for a topic that official clients would never hear. */
export function checkTopic(topic: unknown): asserts topic is string {
  if (isTopic(topic)) return
  if (typeof topic === 'string' && topic.length > MAX_TOPIC)
    throw new TypeError(`a topic has at most ${MAX_TOPIC} characters, received ${topic.length}`)
  throw new TypeError(
    `a topic is made of letters, digits and _ with single dots between them, received ${JSON.stringify(topic)}`,
  )
}

export function isTopic(topic: unknown): topic is string {
  return typeof topic === 'string' && topic.length <= MAX_TOPIC && TOPIC.test(topic)
}

/** Whether it is a map as decoders make them. */
export function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}

function typeOf(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'a list' : typeof value
}
