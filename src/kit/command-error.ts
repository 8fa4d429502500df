/**
 * An error that ends a command of the command line with exit code 1: a negative answer, such as a server that refuses.
 *
 * @param message - one line; never a secret.
 */
export function commandError(message: string): Error {
  return Object.assign(new Error(message), { code: 'ERR_COMMAND' })
}
