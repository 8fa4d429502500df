import { constants, type FileHandle, open } from 'node:fs/promises'

/** Bytes: far beyond any key or certificate. */
const MAX_BYTES = 1_048_576

/** The text of a PEM file. Neither waits for the writer of a pipe nor reads a device without end. */
export async function readPem(path: string): Promise<string> {
  const file = await open(path, constants.O_RDONLY | constants.O_NONBLOCK)
  try {
    return await readRegular(file)
  } finally {
    await file.close()
  }
}

async function readRegular(file: FileHandle): Promise<string> {
  const stats = await file.stat()
  if (!stats.isFile()) throw new Error('it is no regular file')
  if (stats.size > MAX_BYTES) throw new Error(`it is larger than ${MAX_BYTES} bytes`)
  return file.readFile('utf8')
}
