import { constants } from 'node:fs'
import { type FileHandle, open, rename, stat, unlink } from 'node:fs/promises'
import { basename, dirname, join, resolve } from 'node:path'
import { MAX_PART } from '../../protocols/clever-show/frame.ts'
import { MessagingError } from './error.ts'
import type { Sink } from './get-file.ts'
import { keyOf, type Source } from './source.ts'

const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants

/**
 * A file of this machine, to be sent: `copter.sendFile(readFrom('/var/log/flight.csv'), 'logs/flight.csv')`. An upload of it
 * goes on later, also from another process, unless the file has changed. Rejects as the system does.
 */
export async function readFrom(path: string): Promise<Source> {
  const absolute = resolve(path)
  const file = await stat(absolute)
  if (!file.isFile()) throw new MessagingError('path', `what is sent is a file, received "${path}"`)
  return {
    size: file.size,
    key: keyOf([absolute, file.size, file.mtimeMs]),
    async read(start, end) {
      const handle = await open(absolute)
      try {
        const { size, mtimeMs } = await handle.stat()
        const bytes = await piece(handle, start, end)
        if (size === file.size && mtimeMs === file.mtimeMs && bytes.length === end - start) return bytes
      } finally {
        await handle.close()
      }
      throw new MessagingError('changed', `"${path}" has changed while it was sent`)
    },
  }
}

/**
 * A place on this machine for a file of the server: `copter.getFile('paths/a.csv', { into: saveTo('/tmp/a.csv') })`. It gets
 * its name when it is whole; until then it is a hidden file beside it, with which a later attempt goes on, also in another
 * process, unless the server's file has changed. Settles with the absolute path.
 */
export function saveTo(path: string): Sink<string> {
  const absolute = resolve(path)
  let temp = ''
  let handle: FileHandle | undefined
  let position = 0

  async function close(isKept: boolean): Promise<void> {
    await handle?.close()
    handle = undefined
    if (!isKept && temp !== '') await unlink(temp).catch(() => {})
  }

  return {
    async begin({ size, version }, hash) {
      await close(false)
      temp = join(dirname(absolute), `.${basename(absolute)}.${keyOf([version]).slice(0, 16)}.part`)
      handle = await open(temp, O_RDWR | O_CREAT | O_NOFOLLOW)
      position = (await handle.stat()).size
      if (version === '' || position > size) {
        await handle.truncate()
        position = 0
      }
      while (hash.size < position) {
        const start = hash.size
        hash.add(await piece(handle, start, Math.min(start + MAX_PART, position)), start)
      }
    },
    async write(bytes) {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await handle!.write(bytes, done, bytes.length - done, position)
        done += bytesWritten
        position += bytesWritten
      }
    },
    async finish() {
      await handle!.sync()
      await close(true)
      await rename(temp, absolute)
      await sync(dirname(absolute))
      return absolute
    },
    close,
  }
}

/** Fewer at its end. */
async function piece(handle: FileHandle, start: number, end: number): Promise<Buffer<ArrayBuffer>> {
  const bytes = Buffer.alloc(end - start)
  for (let done = 0; done < bytes.length; ) {
    const { bytesRead } = await handle.read(bytes, done, bytes.length - done, start + done)
    if (bytesRead === 0) return bytes.subarray(0, done)
    done += bytesRead
  }
  return bytes
}

/** What has been renamed stays so when the power goes. */
async function sync(folder: string): Promise<void> {
  const handle = await open(folder)
  try {
    await handle.sync()
  } finally {
    await handle.close()
  }
}
