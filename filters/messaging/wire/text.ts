import { OF_PEERS, readJson } from './json.ts'
import { Malformed, TOO_LARGE } from './malformed.ts'
import { argumentsOf, extrasOf, failureOf, idOf, type Messaging, nameOf, resendOf } from './message.ts'

/** How every text in this form begins; other texts are not parsed. At most 64 spaces, so that all of it is 150 characters. */
const BEGINNING = /^\s{0,64}\{\s{0,64}"(?:action|request|response|id|args|kwargs|value|error|resend|at|topic)"/
const ALLOWED = {
  action: ['action', 'args', 'kwargs', 'id', 'resend', 'at', 'topic'],
  request: ['request', 'id', 'args', 'kwargs', 'resend'],
  response: ['response', 'id', 'value', 'error'],
}

/**
 * A message in the form for browsers, a text of JSON:
 *
 * - `{"action": name, "args": [...], "kwargs": {...}}`
 * - `{"request": name, "id": "0001", "args": [...], "kwargs": {...}}`
 * - `{"response": name, "id": "0001", "value": any}`, or `"error": {"code": ..., "message": ...}` for the value
 *
 * `args` and `kwargs` may be left out. An action may have an `id` (to be answered), `at` (seconds) and `topic`, it and a
 * request `"resend": true`. What has other keys is no such message.
 *
 * @returns `undefined`: it is another text.
 * @throws Malformed when it is one, and not right; also when it begins like one, and exceeds the bounds.
 */
export function readText(text: string, bounds = OF_PEERS): Messaging | undefined {
  if (!BEGINNING.test(text)) return undefined
  let value: Record<string, unknown>
  try {
    value = readJson(text, bounds, 'a message') as Record<string, unknown>
  } catch (error) {
    if (error instanceof Malformed && error.closeCode === TOO_LARGE) throw error
    return undefined
  }
  const kind = kindOf(value)
  return kind && messageIn(value, kind)
}

function kindOf(value: object): keyof typeof ALLOWED | undefined {
  const keys = Object.keys(value)
  for (const kind of ['action', 'request', 'response'] as const) {
    if (keys.includes(kind)) return keys.every(key => ALLOWED[kind].includes(key)) ? kind : undefined
  }
  return undefined
}

function messageIn(json: Record<string, unknown>, kind: keyof typeof ALLOWED): Messaging {
  const name = nameOf(json[kind], `"${kind}"`)
  if (kind === 'action') return { type: 'message', name, ...argumentsOf(json), ...extrasOf(json.id, json) }
  const id = idOf(json.id)
  if (kind === 'request') return { type: 'request', name, id, ...argumentsOf(json), ...resendOf(json.resend) }
  return { type: 'response', name, id, value: json.value ?? null, ...failureOf(json.error) }
}

/**
 * The same back; `undefined`: a file, which is no text.
 *
 * @throws TypeError when JSON cannot say it.
 */
export function writeText(message: Messaging): string | undefined {
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
  if (JSON.stringify(value) === undefined) throw new TypeError(`JSON cannot say ${typeof value}`)
  return JSON.stringify({ response: name, id, value })
}
