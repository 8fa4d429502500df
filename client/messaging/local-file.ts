import { constants } from 'node:fs'
import { type FileHandle, open, rename, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { Readable } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { MAX_PART } from '../../protocols/clever-show/frame.ts'
import { MessagingError } from './error.ts'
import { keyOf, type Source } from './file-source.ts'
import type { Sink } from './get-file.ts'

const { O_RDWR, O_CREAT, O_APPEND, O_NOFOLLOW } = constants

/**
 * A local file to send. An upload is resumed later, also by another process, unless the file has changed.
 *
 * @throws (rejects) MessagingError `path`: it is not a file; errors of the system. `read` rejects with `changed`.
 * @example
 * await copter.sendFile(readFrom('/var/log/flight.csv'), 'logs/flight.csv')
 */
export async function readFrom(path: string): Promise<Source> {
  const absolute = resolve(path)
  const file = await stat(absolute)
  if (!file.isFile()) throw new MessagingError('path', `readFrom() takes a file, received "${path}"`)
  return {
    size: file.size,
    key: keyOf([absolute, file.size, file.mtimeMs]),
    async read(start, end) {
      const handle = await open(absolute)
      try {
        const { size, mtimeMs } = await handle.stat()
        const bytes = await buffer(read(handle, start, end))
        if (size === file.size && mtimeMs === file.mtimeMs && bytes.length === end - start) return bytes
      } finally {
        await handle.close()
      }
      throw new MessagingError('changed', `"${path}" has changed during the transfer`)
    },
  }
}

/**
 * A local path for a file of the server. An incomplete file is hidden in the same folder; a later transfer resumes it, also in
 * another process, unless the server's file has changed. `getFile` settles with the absolute path.
 *
 * @example
 * await copter.getFile('paths/a.csv', { into: saveTo('/tmp/a.csv') })
 */
export function saveTo(path: string): Sink<string> {
  const absolute = resolve(path)
  let temp = ''
  let handle: FileHandle | undefined

  async function close(isKept: boolean): Promise<void> {
    await handle?.close()
    handle = undefined
    if (!isKept && temp !== '') await unlink(temp).catch(() => {})
  }

  return {
    async begin({ size, version }, hash) {
      await close(false)
      temp = join(dirname(absolute), `.${basename(absolute)}.${keyOf([version]).slice(0, 16)}.part`)
      handle = await open(temp, O_RDWR | O_CREAT | O_APPEND | O_NOFOLLOW)
      const { size: existing } = await handle.stat()
      if (version === '' || existing > size) await handle.truncate()
      else for await (const bytes of read(handle, 0, existing)) hash.add(bytes, hash.size)
    },
    write: bytes => handle!.appendFile(bytes),
    async finish() {
      await handle!.sync()
      await close(true)
      await rename(temp, absolute)
      await syncFolder(dirname(absolute))
      return absolute
    },
    close,
  }
}

/** Bytes of a file, fewer if it is shorter. */
function read(handle: FileHandle, start: number, end: number): Readable {
  if (start === end) return Readable.from([])
  return handle.createReadStream({ start, end: end - 1, autoClose: false, highWaterMark: MAX_PART })
}

/** Makes a rename survive a power failure. */
async function syncFolder(folder: string): Promise<void> {
  const handle = await open(folder)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
