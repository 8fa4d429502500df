import { constants } from 'node:fs'
import { type FileHandle, open, unlink } from 'node:fs/promises'
import { type FileRoot, unless } from './root.ts'

const { O_RDWR, O_CREAT, O_NOFOLLOW } = constants

/** An incomplete file, under a name that no client sees. It is created by the first `append`, unless it exists. */
export class PartFile {
  readonly name: string
  readonly #root: FileRoot
  #handle: FileHandle | undefined
  #size = 0
  #isComplete = false

  constructor(root: FileRoot, name: string) {
    this.#root = root
    this.name = name
  }

  /** Opens the file if it exists. @throws (rejects) errors of the system */
  async resume(): Promise<void> {
    await this.#open(O_RDWR | O_NOFOLLOW).catch(unless('ENOENT'))
  }

  /** Opens the file, or creates it, and continues after the bytes that exist. @throws (rejects) errors of the system */
  async open(): Promise<FileHandle> {
    return this.#handle ?? (await this.#open(O_RDWR | O_CREAT | O_NOFOLLOW))
  }

  async #open(flags: number): Promise<FileHandle> {
    const handle = await this.#root.withinParts(({ entry }) => open(`${entry}/${this.name}`, flags, 0o600))
    try {
      this.#size = (await handle.stat()).size
      // A part that goes on is not too old any more: the next count would delete it.
      if (this.#size > 0) await handle.utimes(new Date(), new Date())
    } catch (error) {
      await handle.close()
      throw error
    }
    this.#handle = handle
    return handle
  }

  /** Bytes. */
  get size(): number {
    return this.#size
  }

  /** Writes at the end. After an error the file has the bytes that it had before. */
  async append(bytes: Buffer): Promise<void> {
    const handle = await this.open()
    this.#isComplete = false
    try {
      for (let done = 0; done < bytes.length; ) {
        const { bytesWritten } = await handle.write(bytes, done, bytes.length - done, this.#size + done)
        done += bytesWritten
      }
    } catch (error) {
      await handle.truncate(this.#size).catch(() => {})
      throw error
    }
    this.#size += bytes.length
  }

  /** Writes over the beginning of the file. */
  async overwrite(bytes: Buffer): Promise<void> {
    const handle = await this.open()
    this.#isComplete = false
    await handle.write(bytes, 0, bytes.length, 0)
  }

  /** Makes the file readable to others and writes it to the disk. */
  async complete(): Promise<void> {
    const handle = await this.open()
    if (this.#isComplete) return
    await handle.chmod(0o644)
    await handle.sync()
    this.#isComplete = true
  }

  /** Closes the file and keeps its bytes. Never rejects. */
  async close(): Promise<void> {
    await this.#handle?.close().catch(() => {})
  }

  /** Deletes the file, also after `close`. Never rejects. */
  async discard(): Promise<void> {
    if (this.#handle === undefined) return
    await this.close()
    await this.#root.withinParts(({ entry }) => unlink(`${entry}/${this.name}`)).catch(() => {})
  }
}
