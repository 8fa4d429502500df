import { closeSync, constants, fstatSync, openSync, readFileSync } from 'node:fs'

/** Bytes; far beyond any config file, secret or certificate. */
const MAX_BYTES = 1_048_576

/**
 * Reads a text file of at most 1 MiB. Pipes and devices are refused: they could block or never end.
 *
 * @throws Error: not a regular file, too large, or the error of the file system.
 * @example
 * const secret = readRegular('/run/secrets/token').trim()
 */
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
    if (!stats.isFile()) throw new Error('it is not a regular file')
    if (stats.size > MAX_BYTES) throw new Error(`it is larger than ${MAX_BYTES} bytes`)
    return readFileSync(file)
  } finally {
    closeSync(file)
  }
}
