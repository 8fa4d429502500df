import { readFile, rename, writeFile } from 'node:fs/promises'
import type { Position } from '../contract/streams.ts'
import { optionError } from './option-error.ts'

/** A file with a position as JSON: `{"epoch":"...","offset":7}`. */
export class PositionFile {
  readonly #option: string
  readonly #path: string

  /** @param option - that names the file, for errors. */
  constructor(option: string, path: string) {
    this.#option = option
    this.#path = path
  }

  /** The position; `undefined` if there is no file. @throws (rejects) an option error for another content. */
  async read(): Promise<Position | undefined> {
    let text: string
    try {
      text = await readFile(this.#path, 'utf8')
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code === 'ENOENT') return undefined
      throw optionError(`${this.#option} cannot be read: ${(error as Error).message}`, error)
    }
    const position = positionIn(text)
    if (position !== undefined) return position
    const received = JSON.stringify(text.slice(0, 100))
    throw optionError(`${this.#option} ${this.#path} must have {"epoch":"...","offset":0}, received ${received}`)
  }

  /** Replaces the content at once: a reader of the file never sees half of it. */
  async write({ epoch, offset }: Position): Promise<void> {
    const temporary = `${this.#path}.new`
    await writeFile(temporary, JSON.stringify({ epoch, offset }))
    await rename(temporary, this.#path)
  }
}

/** The position in a string such as `{"epoch":"...","offset":7}`; `undefined`: it has none. */
export function positionIn(text: string): Position | undefined {
  try {
    const { epoch, offset } = JSON.parse(text)
    return typeof epoch === 'string' && Number.isSafeInteger(offset) && offset >= 0 ? { epoch, offset } : undefined
  } catch {
    return undefined
  }
}
