import type { Awaitable } from 'filtered-websocket'
import { isPromise } from 'filtered-websocket/kit'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import { cut } from '../../../protocols/clever-show/message.ts'
import type { Failure } from '../wire/message.ts'

/** The result of a request, or of an action with an id: its answer. */
export type Outcome =
  | { readonly value: unknown; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: Failure }

/**
 * Runs a handler; never throws.
 *
 * @param failed - converts the error of the handler to an outcome.
 */
export function outcomeOf(run: () => unknown, failed: (error: unknown) => Outcome): Awaitable<Outcome> {
  try {
    const value = run()
    return isPromise(value) ? value.then(value => ({ value }), failed) : { value }
  } catch (error) {
    return failed(error)
  }
}

/** @throws TypeError: JSON cannot represent the value. */
export function checkJson({ value }: Outcome): void {
  const isPlain = value === undefined || value === null || typeof value === 'string' || typeof value === 'number'
  if (!isPlain && JSON.stringify(value) === undefined) throw new TypeError(`JSON cannot express ${typeof value}`)
}

/** The error of an answer that JSON cannot represent. */
export function unserializable(what: string): Failure {
  return { code: 'unserializable', message: cut(`the answer to ${what} is not JSON`) }
}

/**
 * An error as a peer gets it. Messages of system errors are left out, as they may contain paths.
 *
 * @param what - the subject that failed, such as `request "battery"`.
 */
export function failureIn(what: string, error: unknown): Failure {
  const { code, syscall, message } = Object(error) as { code?: unknown; syscall?: unknown; message?: unknown }
  if (syscall !== undefined) return { code: 'failed', message: `${what} failed` }
  const text = typeof error === 'string' ? error : typeof message === 'string' ? message : shown(error)
  return { code: cut(typeof code === 'string' ? code : 'failed'), message: cut(text) }
}
