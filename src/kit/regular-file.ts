import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'

/** Bytes: far beyond any configuration, secret or certificate that is meant. */
const MAX_BYTES = 1_048_576

/** The text of a file. Neither waits for the writer of a pipe nor reads a device without end. */
export function readRegular(path: string): string {
  return readRegularBytes(path).toString('utf8')
}

/**
 * The bytes of a file, with the bounds of `readRegular`.
 *
 * @example
 * const archive = readRegularBytes('/etc/keys.p12')
 */
export function readRegularBytes(path: string): Buffer {
  const file = openSync(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    const stats = fstatSync(file)
    if (!stats.isFile()) throw new Error('it is no regular file')
    if (stats.size > MAX_BYTES) throw new Error(`it is larger than ${MAX_BYTES} bytes`)
    return readFileSync(file)
  } finally {
    closeSync(file)
  }
}
