import { FileFailed } from './failed.ts'

interface Writer {
  readonly owner: object
  readonly ended: Promise<void>
}

/** Files under way: so many at a time, and one writer a path. */
export class Transfers {
  readonly #max: number
  readonly #share: number
  readonly #writers = new Map<string, Writer>()
  /** Of those who have any. */
  readonly #counts = new Map<unknown, number>()
  #count = 0

  /** @param share - places that one has at most. */
  constructor(max: number, share = max) {
    this.#max = max
    this.#share = share
  }

  /**
   * A place among those at a time; answers how to leave it, also twice.
   *
   * @param by - whose share it is of; left out: nobody's.
   * @throws FileFailed `busy`.
   */
  enter(by?: unknown): () => void {
    if (by !== undefined && this.#countOf(by) >= this.#share)
      throw new FileFailed('busy', `${this.#share} files of this client are under way, try again later`)
    if (this.#count >= this.#max) throw new FileFailed('busy', `${this.#max} files are under way, try again later`)
    this.#move(by, 1)
    let isIn = true
    return () => {
      if (isIn) this.#move(by, -1)
      isIn = false
    }
  }

  #move(by: unknown, step: 1 | -1): void {
    this.#count += step
    if (by === undefined) return
    const count = this.#countOf(by) + step
    if (count > 0) this.#counts.set(by, count)
    else this.#counts.delete(by)
  }

  #countOf(by: unknown): number {
    return this.#counts.get(by) ?? 0
  }

  /**
   * A path to write. Its own writer before is waited for; answers how to let it go, also twice.
   *
   * @throws FileFailed `busy`: another one writes it.
   */
  async write(owner: object, filepath: string): Promise<() => void> {
    for (let writer = this.#writers.get(filepath); writer !== undefined; writer = this.#writers.get(filepath)) {
      if (writer.owner !== owner) throw new FileFailed('busy', 'another one writes this file, try again later')
      await writer.ended
    }
    let end = () => {}
    const ended = new Promise<void>(resolve => {
      end = resolve
    })
    const writer = { owner, ended }
    this.#writers.set(filepath, writer)
    return () => {
      if (this.#writers.get(filepath) === writer) this.#writers.delete(filepath)
      end()
    }
  }
}
