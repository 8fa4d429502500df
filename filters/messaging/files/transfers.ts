import { FileFailed } from './failed.ts'

interface Writer {
  readonly owner: object
  readonly ended: Promise<void>
}

/** Files under way: so many at a time, and one writer a path. */
export class Transfers {
  readonly #max: number
  readonly #writers = new Map<string, Writer>()
  #count = 0

  constructor(max: number) {
    this.#max = max
  }

  /** A place among those at a time; answers how to leave it, also twice. @throws FileFailed `busy`. */
  enter(): () => void {
    if (this.#count >= this.#max) throw new FileFailed('busy', `${this.#max} files are under way, try again later`)
    this.#count++
    let isIn = true
    return () => {
      if (isIn) this.#count--
      isIn = false
    }
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
