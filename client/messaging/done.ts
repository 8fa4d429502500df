const MAX_ANSWERS = 1000
/** Bytes of one. */
const MAX_ANSWER = 65_536

/** What has been done for the server, and how it was answered: what it asks again is not done again. */
export class Done {
  readonly #answers = new Map<string, Uint8Array | undefined>()

  has(key: string): boolean {
    return this.#answers.has(key)
  }

  /** `undefined`: it is being done. */
  answer(key: string): Uint8Array | undefined {
    return this.#answers.get(key)
  }

  begin(key: string): void {
    this.#answers.delete(key)
    this.#answers.set(key, undefined)
    if (this.#answers.size > MAX_ANSWERS)
      for (const oldest of this.#answers.keys()) return void this.#answers.delete(oldest)
  }

  end(key: string, answer: Uint8Array): void {
    if (answer.length > MAX_ANSWER) this.#answers.delete(key)
    else if (this.#answers.has(key)) this.#answers.set(key, answer)
  }
}
