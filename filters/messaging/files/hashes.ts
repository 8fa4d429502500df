import { createHash } from 'node:crypto'
import { FileFailed } from './failed.ts'
import type { SharedFile } from './shared-file.ts'

/** At a time, and those that may wait. */
const AT_A_TIME = 2
const WAITING = 64
const REMEMBERED = 256
const CHUNK = 262_144

/** SHA-256 of whole files, in hexadecimal. What was found is remembered as long as the file does not change. */
export class Hashes {
  readonly #known = new Map<string, string>()
  readonly #waiting: (() => void)[] = []
  #running = 0

  /** @throws FileFailed `busy`, `changed`; the signal's reason. */
  async of(file: SharedFile, signal?: AbortSignal): Promise<string> {
    const known = this.#known.get(file.version)
    if (known !== undefined) return known
    await this.#turn()
    try {
      const hash = createHash('sha256')
      for (let offset = 0; offset < file.size; offset += CHUNK) {
        signal?.throwIfAborted()
        hash.update(await file.read(offset, CHUNK))
      }
      await file.checkUnchanged()
      const sha256 = hash.digest('hex')
      this.#remember(file.version, sha256)
      return sha256
    } finally {
      const next = this.#waiting.shift()
      if (next === undefined) this.#running--
      else next()
    }
  }

  async #turn(): Promise<void> {
    if (this.#running < AT_A_TIME) {
      this.#running++
      return
    }
    if (this.#waiting.length >= WAITING)
      throw new FileFailed('busy', `${WAITING} files wait for their hashes, try again later`)
    // Who ends leaves the place to the first of them.
    await new Promise<void>(resolve => this.#waiting.push(resolve))
  }

  #remember(version: string, sha256: string): void {
    this.#known.set(version, sha256)
    if (this.#known.size > REMEMBERED) this.#known.delete(this.#known.keys().next().value!)
  }
}
