import { MAX_JSON_DEPTH, MAX_JSON_LENGTH, readJson as read } from 'filtered-websocket/kit'
import { bytesOf } from '../bytes.ts'
import { malformed, oversize } from '../protocol-error.ts'
import { isKey } from './attachments.ts'

/**
 * Parses JSON with the numbers NaN, Infinity and -Infinity of Python (wslink, section 1).
 *
 * @param maxLength - maximum characters.
 * @throws ProtocolError
 */
export function readJson(text: string, maxLength = MAX_JSON_LENGTH): unknown {
  try {
    return read(text, { maxLength, allowNaN: true })
  } catch (error) {
    if (error instanceof RangeError) throw oversize(error.message)
    throw malformed('a text message is not JSON')
  }
}

/** JSON split where bytes belong: one text more than attachments. */
export interface Written {
  readonly texts: readonly string[]
  readonly attachments: readonly Uint8Array[]
  /** Strings in the value that have the form of attachment keys. */
  readonly lookalikes: ReadonlySet<string>
}

/**
 * Writes a value as Python does: NaN and infinite numbers as they are, spaces after commas and colons. A Date becomes an ISO
 * string.
 *
 * @throws TypeError for functions and symbols, RangeError beyond 100 levels.
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
    else throw new TypeError(`JSON cannot encode a ${typeof value}`)
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
