import { readFileSync } from 'node:fs'
import { isDeepStrictEqual } from 'node:util'
import { FwsError, messageOf } from '../contract/errors.ts'
import { readJson } from '../kit/json.ts'

/** Characters of a line that an error shows. */
const MAX_SHOWN = 500

/** The output that a file expects, compared with the real one line by line. */
export class Expectation {
  readonly #path: string
  readonly #expected: readonly string[]
  readonly #ignored: ReadonlySet<string>
  #received = 0
  #difference: string | undefined

  /**
   * @param ignored - names of fields that may differ, at any depth, also in payloads that are JSON.
   * @throws FwsError `ERR_OPTION`: the file cannot be read.
   */
  constructor(path: string, ignored: readonly string[]) {
    this.#path = path
    this.#ignored = new Set(ignored)
    this.#expected = linesOf(path)
  }

  /** The first difference so far, in several lines. */
  get difference(): string | undefined {
    return this.#difference
  }

  add(line: string): void {
    const received = line.trimEnd()
    const expected = this.#expected[this.#received++]
    if (this.#difference === undefined && !this.#isEqual(expected, received))
      this.#difference = `line ${this.#received} of the output differs from ${this.#path}\n- ${shown(expected)}\n+ ${shown(received)}`
  }

  /** The output is complete. */
  end(): void {
    const missing = this.#expected[this.#received]
    if (missing === undefined || this.#difference !== undefined) return
    const lines = `${this.#received} ${this.#received === 1 ? 'line' : 'lines'}`
    this.#difference = `the output has ${lines}, ${this.#path} has ${this.#expected.length}\n- ${shown(missing)}`
  }

  #isEqual(expected: string | undefined, received: string): boolean {
    if (expected === received || expected === undefined) return expected === received
    return isDeepStrictEqual(this.#comparable(expected), this.#comparable(received))
  }

  #comparable(line: string): unknown {
    try {
      const value: unknown = JSON.parse(line)
      return this.#ignored.size === 0 ? value : this.#stripped(value)
    } catch {
      return line
    }
  }

  /** The value without ignored fields. */
  #stripped(value: unknown): unknown {
    if (typeof value === 'string') return this.#strippedText(value)
    if (Array.isArray(value)) return value.map(entry => this.#stripped(entry))
    if (typeof value !== 'object' || value === null) return value
    return Object.fromEntries(
      Object.entries(value).flatMap(([name, field]) =>
        this.#ignored.has(name) ? [] : [[name, this.#stripped(field)] as const],
      ),
    )
  }

  /** A payload of one or several lines of JSON by its values, another one unchanged. */
  #strippedText(text: string): unknown {
    if (!/^[{[]/.test(text)) return text
    try {
      return text.split('\n').map(line => (line === '' ? line : this.#stripped(readJson(line))))
    } catch {
      return text
    }
  }
}

function linesOf(path: string): readonly string[] {
  try {
    return readFileSync(path, 'utf8')
      .split(/\r?\n/)
      .filter(line => line !== '')
  } catch (error) {
    throw new FwsError('ERR_OPTION', `--expect takes a file, received ${path}: ${messageOf(error)}`, error)
  }
}

function shown(line: string | undefined): string {
  if (line === undefined) return '(no further line)'
  return line.length > MAX_SHOWN ? `${line.slice(0, MAX_SHOWN)}... (${line.length} characters)` : line
}
