import type { Fields, Id } from './frame.ts'
import { type Limits, readObject } from './json.ts'
import { Malformed, TOO_LARGE, tooLarge } from './malformed.ts'
import { type Action, actionOf, failureOf, idOf, type Messaging, nameIn, requestOf } from './message.ts'

/** The beginning of each message in this form; other strings are not parsed. With at most 64 spaces it is bounded by 150 characters. */
const BEGINNING = /^\s{0,64}\{\s{0,64}"(?:action|request|response|id|args|kwargs|value|error|resend|at|topic)"/
const ALLOWED = {
  action: new Set(['action', 'id', 'args', 'kwargs', 'resend', 'at', 'topic']),
  request: new Set(['request', 'id', 'args', 'kwargs', 'resend']),
  response: new Set(['response', 'id', 'value', 'error']),
}

/**
 * Reads a message as a JSON string, the form for browsers:
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
  let json: Fields
  try {
    json = readObject(text, parse, 'a message')
  } catch (error) {
    if (error instanceof Malformed && error.closeCode === TOO_LARGE) throw error
    return undefined
  }
  const allowed = 'action' in json ? ALLOWED.action : 'request' in json ? ALLOWED.request : ALLOWED.response
  for (const key in json) if (!allowed.has(key)) return undefined
  return messageIn(json)
}

/** Reads a message from its parsed JSON; further keys are ignored. `undefined`: the JSON is not a message. @throws Malformed */
export function messageIn(json: Fields): Messaging<never> | undefined {
  if ('action' in json) return actionOf(json, 'action', json, json.id)
  if ('request' in json) return requestOf(json, 'request', json.id, json)
  if (!('response' in json)) return undefined
  const { id, value = null, error } = json
  return { type: 'response', name: nameIn(json, 'response'), id: idOf(id), value, ...failureOf(error) }
}

/**
 * Writes a message as a JSON string; `undefined`: a file, which this form cannot carry.
 *
 * @throws TypeError when JSON cannot express it.
 */
export function writeText(message: Messaging<unknown>): string | undefined {
  if (message.type !== 'request' && message.content !== undefined) return undefined
  const { type, name, id } = message
  if (type === 'response') {
    const { value = null, error } = message
    const content = JSON.stringify(error === undefined ? { value } : { error })
    if (content === '{}') throw new TypeError(`JSON cannot express ${typeof value}`)
    return textOf({ type, name, id, content })
  }
  const { args, kwargs, resend, at, topic } = message as Action
  return textOf({ type, name, id, fields: { resend, at, topic }, content: JSON.stringify({ args, kwargs }) })
}

/** A message whose content is written. */
export interface Written {
  readonly type: 'message' | 'request' | 'response'
  readonly name: string
  readonly id?: Id | undefined
  /** Further fields of the message. */
  readonly fields?: Fields | undefined
  /** The JSON of an object with a member: `args` and `kwargs`, `value`, or `error`. */
  readonly content: string
}

/** Writes a message as a JSON string. */
export function textOf({ type, name, id, fields, content }: Written): string {
  let text = `{"${type === 'message' ? 'action' : type}":${JSON.stringify(name)},`
  if (id !== undefined) text += `"id":${JSON.stringify(id)},`
  text += content.slice(1, -1)
  for (const field in fields) if (fields[field] !== undefined) text += `,"${field}":${JSON.stringify(fields[field])}`
  return `${text}}`
}
