import type { BigIntStats } from 'node:fs'
import type { FileHandle } from 'node:fs/promises'
import { FileFailed } from './failed.ts'

/** A file that is read for others. */
export class SharedFile {
  readonly handle: FileHandle
  /** Bytes, when it was opened. */
  readonly size: number
  /** Another one as soon as the file has changed. */
  readonly version: string

  private constructor(handle: FileHandle, stats: BigIntStats) {
    this.handle = handle
    this.size = Number(stats.size)
    this.version = versionOf(stats)
  }

  /** @throws FileFailed `path`: it is a folder, a pipe or the like. */
  static async of(handle: FileHandle): Promise<SharedFile> {
    const stats = await handle.stat({ bigint: true })
    if (!stats.isFile()) throw new FileFailed('path', 'what is there is no file')
    return new SharedFile(handle, stats)
  }

  /** So many bytes, fewer at its end. */
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

  /** @throws FileFailed `changed`: it is not what it was when it was opened. */
  async checkUnchanged(): Promise<void> {
    if (versionOf(await this.handle.stat({ bigint: true })) !== this.version) throw changed()
  }

  close(): Promise<void> {
    return this.handle.close()
  }
}

function changed(): FileFailed {
  return new FileFailed('changed', 'the file has changed meanwhile')
}

/** A change that keeps the size and sets the time back is seen by the change time, which nobody sets. */
function versionOf({ dev, ino, size, mtimeNs, ctimeNs }: BigIntStats): string {
  return [dev, ino, size, mtimeNs, ctimeNs]
    .map(number => number.toString(36))
    .join('-')
    .slice(0, 64)
}
