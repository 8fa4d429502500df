import { FileError } from 'filtered-websocket/kit'

/** One writer for each path. */
export class Writers {
  readonly #paths = new Map<string, { readonly writer: object; readonly ended: Promise<void> }>()

  /**
   * Reserves a path, after files of the same writer to that path.
   *
   * @returns releases the path; further calls have no effect.
   * @throws (rejects) FileError `busy`: another writer has the path.
   */
  async enter(writer: object, filepath: string): Promise<() => void> {
    for (let other = this.#paths.get(filepath); other !== undefined; other = this.#paths.get(filepath)) {
      if (other.writer !== writer) throw new FileError('busy', 'another client writes this file, try again later')
      await other.ended
    }
    let end = () => {}
    const ended = new Promise<void>(resolve => {
      end = resolve
    })
    const own = { writer, ended }
    this.#paths.set(filepath, own)
    return () => {
      if (this.#paths.get(filepath) === own) this.#paths.delete(filepath)
      end()
    }
  }
}
