import { createHash, timingSafeEqual } from 'node:crypto'
import type { Awaitable, Client } from 'filtered-websocket'
import { isMap } from './envelope.ts'

/**
 * Says whether a client may come in with what it gave as its secret, `undefined` if it gave none; a string is who it is
 * then. One that throws refuses.
 */
export type Validate = (secret: unknown, client: Client) => Awaitable<boolean | string>

export interface Rules {
  readonly secret: string | undefined
  /** Nothing is asked. */
  readonly isOpen: boolean
  /** A guard stands before: who has an identity has proven it, and that is enough where there is no secret. */
  readonly isGuarded: boolean
}

/** Decides who may come in (wslink, section 0). */
export class Hello {
  readonly #rules: Rules
  readonly #hooks: Validate[] = []
  readonly #onError: (error: unknown) => void

  constructor(rules: Rules, onError: (error: unknown) => void) {
    this.#rules = rules
    this.#onError = onError
  }

  /** Asked instead of the secret; of several each must agree. */
  add(hook: Validate): void {
    this.#hooks.push(hook)
  }

  /** Whether there is a way to come in. */
  get isPossible(): boolean {
    const { secret, isOpen, isGuarded } = this.#rules
    return secret !== undefined || isOpen || isGuarded || this.#hooks.length > 0
  }

  /** Whether this hello is a good one; never rejects. */
  check(args: readonly unknown[], client: Client): Awaitable<boolean> {
    const [credentials] = args
    const given = isMap(credentials) ? credentials.secret : undefined
    if (this.#hooks.length > 0) return this.#ask(given, client)
    const { secret, isOpen, isGuarded } = this.#rules
    if (secret !== undefined) return typeof given === 'string' && isSame(given, secret)
    return isOpen || (isGuarded && client.identity !== undefined)
  }

  async #ask(given: unknown, client: Client): Promise<boolean> {
    let identity: string | undefined
    try {
      for (const hook of this.#hooks) {
        const answer = await hook(given, client)
        if (typeof answer === 'string' && answer !== '') identity = answer
        else if (answer !== true) return false
      }
    } catch (error) {
      this.#onError(error)
      return false
    }
    if (identity !== undefined && identity !== client.identity) {
      client.identity = identity
      try {
        await client.recheck()
      } catch (error) {
        this.#onError(error)
        return false
      }
    }
    return true
  }
}

/** In a time that tells nothing of either, not even its length. */
function isSame(a: string, b: string): boolean {
  const [first, second] = [a, b].map(text => createHash('sha256').update(text).digest())
  return timingSafeEqual(first!, second!)
}
