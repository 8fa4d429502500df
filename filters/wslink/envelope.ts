import { violation } from './protocol-error.ts'

/** A request of a client (wslink, section 0). */
export interface Request {
  /** Copied to the reply. */
  readonly id: string
  readonly method: string
  readonly args: readonly unknown[]
  readonly kwargs: Readonly<Record<string, unknown>>
}

/** A message of the server: a reply or a publish. */
export type Envelope =
  | { readonly wslink: '1.0'; readonly id: string; readonly result: unknown }
  | { readonly wslink: '1.0'; readonly id: string; readonly error: Failure }

export interface Failure {
  readonly code: number
  readonly message: string
  readonly data?: unknown
}

/** Topics that official clients accept; they ignore others. */
const TOPIC = /^\w+(\.\w+)*$/
/** Characters of a topic; subscribed topics are stored. */
const MAX_TOPIC = 256

/**
 * Reads the request in a decoded message; `undefined` if it needs no reply.
 *
 * @throws ProtocolError
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

/** The counter at the end is always 0, as in wslink (Python). */
export function publishOf(topic: string, data: unknown): Envelope {
  return resultOf(`publish:${topic}:0`, data)
}

/** @throws TypeError for a topic that official clients ignore. */
export function checkTopic(topic: unknown): asserts topic is string {
  if (isTopic(topic)) return
  if (typeof topic === 'string' && topic.length > MAX_TOPIC)
    throw new TypeError(`a topic has at most ${MAX_TOPIC} characters, received ${topic.length}`)
  throw new TypeError(`a topic has letters, digits and _, separated by single dots, received ${JSON.stringify(topic)}`)
}

export function isTopic(topic: unknown): topic is string {
  return typeof topic === 'string' && topic.length <= MAX_TOPIC && TOPIC.test(topic)
}

/** Whether it is an object as created by the decoders. */
export function isMap(value: unknown): value is Readonly<Record<string, unknown>> {
  return typeof value === 'object' && value !== null && Object.getPrototypeOf(value) === Object.prototype
}

function typeOf(value: unknown): string {
  return value === null ? 'null' : Array.isArray(value) ? 'an array' : typeof value
}
