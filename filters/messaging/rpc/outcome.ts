import type { Awaitable } from 'filtered-websocket'
import { isPromise } from 'filtered-websocket/kit'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import { cut } from '../../../protocols/clever-show/message.ts'
import type { Failure } from '../wire/message.ts'

/** What came of a request, or of an action with an id: what its sender is answered. */
export type Outcome =
  | { readonly value: unknown; readonly error?: undefined }
  | { readonly value?: undefined; readonly error: Failure }

/**
 * Runs a handler; never throws.
 *
 * @param failed - makes an outcome of what the handler threw.
 */
export function outcomeOf(run: () => unknown, failed: (error: unknown) => Outcome): Awaitable<Outcome> {
  try {
    const value = run()
    return isPromise(value) ? value.then(value => ({ value }), failed) : { value }
  } catch (error) {
    return failed(error)
  }
}

/**
 * What a peer is told of an error. What the system says is not for strangers: there may be paths in it.
 *
 * @param what - failed, such as `request "battery"`.
 */
export function failureIn(what: string, error: unknown): Failure {
  const { code, syscall, message } = Object(error) as { code?: unknown; syscall?: unknown; message?: unknown }
  if (syscall !== undefined) return { code: 'failed', message: `${what} failed` }
  const why = typeof error === 'string' ? error : typeof message === 'string' ? message : shown(error)
  return { code: cut(typeof code === 'string' ? code : 'failed'), message: cut(why) }
}
