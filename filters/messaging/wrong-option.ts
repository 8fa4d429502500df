/** The core takes it for what it is: the operator's mistake, exit 2. */
export function wrongOption(message: string, cause?: unknown): Error {
  return Object.assign(new Error(message, { cause }), { code: 'ERR_OPTION' })
}
