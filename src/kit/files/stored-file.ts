import type { BigIntStats } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { FileError } from './file-error.ts'

/** A file that is open to be read; the caller closes it. */
export class StoredFile {
  readonly handle: FileHandle
  /** Bytes, when it was opened. */
  readonly size: number
  /** At most 64 characters; changes with the file. */
  readonly version: string

  private constructor(handle: FileHandle, stats: BigIntStats) {
    this.handle = handle
    this.size = Number(stats.size)
    this.version = versionOf(stats)
  }

  /** @throws FileError `path`: it is a folder, a pipe or a device. */
  static async of(handle: FileHandle): Promise<StoredFile> {
    const stats = await handle.stat({ bigint: true })
    if (!stats.isFile()) throw new FileError('path', 'the path is not a regular file')
    return new StoredFile(handle, stats)
  }

  /** `length` bytes from `offset`, fewer at the end. @throws FileError `changed`: the file is shorter than it was. */
  async read(offset: number, length: number): Promise<Buffer> {
    const bytes = Buffer.allocUnsafe(Math.max(0, Math.min(length, this.size - offset)))
    let filled = 0
    while (filled < bytes.length) {
      const { bytesRead } = await this.handle.read(bytes, filled, bytes.length - filled, offset + filled)
      if (bytesRead === 0) throw changed()
      filled += bytesRead
    }
    return bytes
  }

  /** As `read`. @throws (rejects) FileError `changed`: the file has changed since it was opened. */
  async readUnchanged(offset: number, length: number): Promise<Buffer> {
    const bytes = await this.read(offset, length)
    await this.checkUnchanged()
    return bytes
  }

  /** @throws FileError `changed`: the file has changed since it was opened. */
  async checkUnchanged(): Promise<void> {
    if (versionOf(await this.handle.stat({ bigint: true })) !== this.version) throw changed()
  }

  close(): Promise<void> {
    return this.handle.close()
  }
}

function changed(): FileError {
  return new FileError('changed', 'the file has changed meanwhile')
}

/** The change time, which no program can set, shows a change that keeps size and modification time. */
function versionOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs]
    .map(number => number.toString(36))
    .join('-')
    .slice(0, 64)
}
