import { constants } from 'node:fs'
import { type FileHandle, open, unlink } from 'node:fs/promises'
import type { Root } from './root.ts'

const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants

/** A file that is not whole, under a name that nobody sees. */
export class Temp {
  readonly name: string
  readonly handle: FileHandle
  readonly #root: Root
  /** Bytes of it. */
  #size: number

  private constructor(root: Root, name: string, handle: FileHandle, size: number) {
    this.#root = root
    this.name = name
    this.handle = handle
    this.#size = size
  }

  /** Goes on with what is there of it, if anything is. Rejects as the system does. */
  static async open(root: Root, name: string): Promise<Temp> {
    const handle = await root.withinParts(({ entry }) => open(`${entry}/${name}`, O_RDWR | O_CREAT | O_NOFOLLOW, 0o600))
    try {
      const { size } = await handle.stat()
      return new Temp(root, name, handle, size)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  get size(): number {
    return this.#size
  }

  /** At the end. What could not be written whole is not there. */
  async append(bytes: Buffer): Promise<void> {
    try {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await this.handle.write(bytes, done, bytes.length - done, this.#size + done)
        done += bytesWritten
      }
    } catch (error) {
      await this.handle.truncate(this.#size).catch(() => {})
      throw error
    }
    this.#size += bytes.length
  }

  /** On the disk, and readable. */
  async complete(): Promise<void> {
    await this.handle.chmod(0o644)
    await this.handle.sync()
  }

  /** What is there stays. */
  async close(): Promise<void> {
    await this.handle.close().catch(() => {})
  }

  /** Nothing stays; also when it is closed already. Never rejects. */
  async discard(): Promise<void> {
    await this.close()
    await this.#root.withinParts(({ entry }) => unlink(`${entry}/${this.name}`)).catch(() => {})
  }
}
