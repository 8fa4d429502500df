import type { Awaitable, Client } from 'filtered-websocket'
import { isSameSecret } from 'filtered-websocket/kit'
import { isMap } from './envelope.ts'

/**
 * Decides whether a client is admitted with the secret that it sent, `undefined` if none. A returned string is its identity. An
 * error refuses the client.
 */
export type Validate = (secret: unknown, client: Client) => Awaitable<boolean | string>

export interface Rules {
  readonly secret: string | undefined
  /** Whether all clients are admitted. */
  readonly isOpen: boolean
  /** Whether a guard authenticates clients: without a secret, their identity is sufficient. */
  readonly isGuarded: boolean
}

/** Authenticates clients by their hello (wslink, section 0). */
export class Authenticator {
  readonly #rules: Rules
  readonly #hooks: Validate[] = []
  readonly #onError: (error: unknown) => void

  constructor(rules: Rules, onError: (error: unknown) => void) {
    this.#rules = rules
    this.#onError = onError
  }

  /** Adds a hook that replaces the check of the secret; all hooks must accept. */
  add(hook: Validate): void {
    this.#hooks.push(hook)
  }

  /** Whether clients can authenticate at all. */
  get isPossible(): boolean {
    const { secret, isOpen, isGuarded } = this.#rules
    return secret !== undefined || isOpen || isGuarded || this.#hooks.length > 0
  }

  /** Checks the arguments of a hello; never rejects. */
  check(args: readonly unknown[], client: Client): Awaitable<boolean> {
    const [credentials] = args
    const sent = isMap(credentials) ? credentials.secret : undefined
    if (this.#hooks.length > 0) return this.#runHooks(sent, client)
    const { secret, isOpen, isGuarded } = this.#rules
    if (secret !== undefined) return typeof sent === 'string' && isSameSecret(sent, secret)
    return isOpen || (isGuarded && client.identity !== undefined)
  }

  async #runHooks(secret: unknown, client: Client): Promise<boolean> {
    let identity: string | undefined
    try {
      for (const hook of this.#hooks) {
        const answer = await hook(secret, client)
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
