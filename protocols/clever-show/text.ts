import { type Limits, readObject } from './json.ts'
import { Malformed, TOO_LARGE, tooLarge } from './malformed.ts'
import { actionOf, failureOf, idOf, type Messaging, nameIn, requestOf } from './message.ts'

/** The beginning of each message in this form; other strings are not parsed. With at most 64 spaces it is bounded by 150 characters. */
const BEGINNING = /^\s{0,64}\{\s{0,64}"(?:action|request|response|id|args|kwargs|value|error|resend|at|topic)"/
const ALLOWED = {
  action: ['action', 'args', 'kwargs', 'id', 'resend', 'at', 'topic'],
  request: ['request', 'id', 'args', 'kwargs', 'resend'],
  response: ['response', 'id', 'value', 'error'],
}

/**
 * Reads a message as JSON text, the form for browsers:
 *
 * - `{"action": name, "args": [...], "kwargs": {...}}`
 * - `{"request": name, "id": "0001", "args": [...], "kwargs": {...}}`
 * - `{"response": name, "id": "0001", "value": any}`, or `"error": {"code": ..., "message": ...}` for the value
 *
 * `args` and `kwargs` are optional. An action may have an `id` (then it is answered), `at` (seconds) and `topic`; an action or
 * a request may have `"resend": true`. JSON with other keys is not a message of this protocol.
 *
 * @returns `undefined`: another string.
 * @throws Malformed for an invalid message, and for a string that begins like a message and exceeds the limits.
 */
export function readText(text: string, { maxContent, parse }: Limits): Messaging<never> | undefined {
  if (!BEGINNING.test(text)) return undefined
  if (text.length > maxContent)
    throw tooLarge(`a message: JSON has at most ${maxContent} characters, received ${text.length}`)
  let json: Record<string, unknown>
  try {
    json = readObject(text, parse, 'a message')
  } catch (error) {
    if (error instanceof Malformed && error.closeCode === TOO_LARGE) throw error
    return undefined
  }
  const kind = kindOf(json)
  return kind && messageIn(json, kind)
}

function kindOf(json: object): keyof typeof ALLOWED | undefined {
  const keys = Object.keys(json)
  for (const kind of ['action', 'request', 'response'] as const) {
    if (keys.includes(kind)) return keys.every(key => ALLOWED[kind].includes(key)) ? kind : undefined
  }
  return undefined
}

function messageIn(json: Record<string, unknown>, kind: keyof typeof ALLOWED): Messaging<never> {
  if (kind === 'action') return actionOf(json, kind, json, json.id)
  if (kind === 'request') return requestOf(json, kind, json.id, json)
  return {
    type: 'response',
    name: nameIn(json, kind),
    id: idOf(json.id),
    value: json.value ?? null,
    ...failureOf(json.error),
  }
}

/**
 * Writes a message as JSON text; `undefined`: a file, which this form cannot carry.
 *
 * @throws TypeError when JSON cannot express it.
 */
export function writeText(message: Messaging<unknown>): string | undefined {
  if (message.type === 'message') {
    const { name, id, args, kwargs, content, resend, at, topic } = message
    return content === undefined ? JSON.stringify({ action: name, id, args, kwargs, resend, at, topic }) : undefined
  }
  if (message.type === 'request') {
    const { name, id, args, kwargs, resend } = message
    return JSON.stringify({ request: name, id, args, kwargs, resend })
  }
  const { name, id, value = null, error, content } = message
  if (content !== undefined) return undefined
  if (error !== undefined) return JSON.stringify({ response: name, id, error })
  if (JSON.stringify(value) === undefined) throw new TypeError(`JSON cannot express ${typeof value}`)
  return JSON.stringify({ response: name, id, value })
}
