import { MAX_JSON_DEPTH, MAX_JSON_LENGTH, readJson as read } from 'filtered-websocket/kit'
import { bytesOf } from '../bytes.ts'
import { malformed, oversize } from '../fatal.ts'
import { isKey } from './attachments.ts'

/**
 * JSON in which NaN, Infinity and -Infinity may stand for numbers, as Python writes it (wslink, section 1).
 *
 * @param maxLength - characters of it.
 * @throws Fatal
 */
export function readJson(text: string, maxLength = MAX_JSON_LENGTH): unknown {
  try {
    return read(text, { maxLength, allowNaN: true })
  } catch (error) {
    if (error instanceof RangeError) throw oversize(error.message)
    throw malformed('a text message is no JSON')
  }
}

/** JSON with places left open for bytes: the text between them, one piece more than there are bytes. */
export interface Written {
  readonly texts: readonly string[]
  readonly attachments: readonly Uint8Array[]
  /** Strings in it that look like keys of attachments. */
  readonly lookalikes: ReadonlySet<string>
}

/**
 * A value as the original writes it: NaN and infinite numbers bare, blanks behind commas and colons. A Date becomes its
 * ISO text.
 *
 * @throws for functions, symbols, and what is nested deeper than 100.
 */
export function writeJson(value: unknown): Written {
  const writer = new Writer()
  writer.write(value, 1)
  return writer.end()
}

class Writer {
  #text = ''
  readonly #texts: string[] = []
  readonly #attachments: Uint8Array[] = []
  readonly #lookalikes = new Set<string>()

  end(): Written {
    return { texts: [...this.#texts, this.#text], attachments: this.#attachments, lookalikes: this.#lookalikes }
  }

  write(value: unknown, depth: number): void {
    if (depth > MAX_JSON_DEPTH) throw new RangeError(`nested deeper than ${MAX_JSON_DEPTH}`)
    if (typeof value === 'string') this.#writeString(value)
    else if (typeof value === 'number') this.#text += numberOf(value)
    else if (typeof value === 'boolean' || typeof value === 'bigint') this.#text += String(value)
    else if (value === undefined || value === null) this.#text += 'null'
    else if (typeof value === 'object') this.#writeObject(value, depth)
    else throw new TypeError(`JSON cannot say ${typeof value}`)
  }

  #writeString(value: string): void {
    if (isKey(value)) this.#lookalikes.add(value)
    this.#text += JSON.stringify(value)
  }

  #writeObject(value: object, depth: number): void {
    const bytes = bytesOf(value)
    if (bytes !== undefined) this.#attach(bytes)
    else if (Array.isArray(value)) this.#writeAll('[', value, ']', item => this.write(item, depth + 1))
    else if (value instanceof Date) this.#text += JSON.stringify(value)
    else
      this.#writeAll('{', Object.entries(value), '}', ([key, item]) => {
        this.#text += `${JSON.stringify(key)}: `
        this.write(item, depth + 1)
      })
  }

  #writeAll<T>(begin: string, items: readonly T[], end: string, write: (item: T) => void): void {
    this.#text += begin
    for (const [i, item] of items.entries()) {
      if (i > 0) this.#text += ', '
      write(item)
    }
    this.#text += end
  }

  #attach(bytes: Uint8Array): void {
    this.#attachments.push(bytes)
    this.#texts.push(this.#text)
    this.#text = ''
  }
}

function numberOf(value: number): string {
  return Object.is(value, -0) ? '-0.0' : String(value)
}
