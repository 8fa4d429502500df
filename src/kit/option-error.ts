/**
 * An error for an option value that cannot be used. Thrown from `setup` or `start`, it stops the start with exit code 2.
 *
 * The core judges it by its `code`, so it need not be an `FwsError`.
 *
 * @param message - what was expected, and the value received; never a secret.
 * @example
 * throw optionError(`--pages-root takes a folder, received "${path}"`)
 */
export function optionError(message: string, cause?: unknown): Error {
  const error = new Error(message, cause === undefined ? undefined : { cause })
  return Object.assign(error, { code: 'ERR_OPTION' })
}
