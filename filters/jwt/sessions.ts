import type { Client } from 'filtered-websocket'
import type { Claims, Token } from './verify.ts'

/** WebSocket close code: not, or no longer, authenticated. */
export const UNAUTHENTICATED = 4401

interface Session {
  readonly token: Token
  /** Those of its claim. */
  readonly topics: ReadonlySet<string>
  /** Told that its token has expired. */
  isWarned: boolean
}

/** Who has which token, and what becomes of a client when its token expires. */
export class Sessions {
  readonly #graceSeconds: number
  readonly #topicsClaim: string | undefined
  /** A client may get here and never open. */
  readonly #sessions = new WeakMap<Client, Session>()
  readonly #open = new Set<Client>()
  /** Not open yet, with a token that has an id. */
  readonly #arriving = new Set<Client>()
  /** Tokens that have still to be found not revoked. */
  readonly #offered = new WeakMap<Client, Token>()

  /** @param topicsClaim - claim that names the topics of a client. */
  constructor(graceSeconds: number, topicsClaim: string | undefined) {
    this.#graceSeconds = graceSeconds
    this.#topicsClaim = topicsClaim
  }

  tokenOf(client: Client): Token | undefined {
    return this.#sessions.get(client)?.token
  }

  /** Clients with the token of this id, or about to be. */
  withId(jti: string): readonly Client[] {
    const tokensOf = (client: Client) => [this.tokenOf(client), this.#offered.get(client)]
    return [...this.#open, ...this.#arriving].filter(client =>
      tokensOf(client).some(token => token?.claims.jti === jti),
    )
  }

  /**
   * From now on the client is who this token says, as long as it says; a later token takes the place of an earlier.
   *
   * @param check - whether it was revoked; if that rejects, the client keeps the token that it had.
   */
  async begin(client: Client, token: Token, check: (claims: Claims) => Promise<void>): Promise<void> {
    const { claims } = token
    // Before the storage is asked: what is revoked after its answer must find the client.
    // A certificate may have proven who it is; a token that names nobody does not take that back.
    if (claims.sub !== undefined) client.identity = claims.sub
    if (claims.jti !== undefined) this.#expect(client)
    this.#offered.set(client, token)
    try {
      await check(claims)
    } finally {
      this.#offered.delete(client)
    }
    client.state.user = claims
    const before = this.#sessions.get(client)?.topics ?? new Set()
    const topics = new Set(this.#topicsClaim === undefined ? [] : textsIn(claims[this.#topicsClaim]))
    this.#sessions.set(client, { token, topics, isWarned: false })
    for (const topic of before) if (!topics.has(topic)) client.leave(topic)
    // Another guard may refuse it.
    for (const topic of topics) if (client.may('join', topic)) client.join(topic)
    await client.recheck()
  }

  /** Until it opens, or goes before that. */
  #expect(client: Client): void {
    // An event that is over would never be heard.
    if (this.#open.has(client) || client.signal.aborted) return
    this.#arriving.add(client)
    client.signal.addEventListener('abort', () => this.#arriving.delete(client), { once: true })
  }

  opened(client: Client): void {
    this.#arriving.delete(client)
    this.#open.add(client)
  }

  closed(client: Client): void {
    this.#open.delete(client)
  }

  /**
   * Warns those whose token has expired, and closes those whose grace is over. One look at all of them a second costs
   * less than a timer for each, and no expiry is too far away for it.
   *
   * @param now - seconds since 1970.
   */
  sweep(now: number): void {
    for (const client of this.#open) {
      const session = this.#sessions.get(client)
      if (session === undefined) continue
      const { expires } = session.token
      if (now >= expires + this.#graceSeconds) {
        client.disconnect(UNAUTHENTICATED, 'token expired')
      } else if (now >= expires && !session.isWarned) {
        session.isWarned = true
        client.send(JSON.stringify({ auth: 'expiring', expires }), 'notice')
      }
    }
  }
}

function textsIn(claim: Claims[string]): readonly string[] {
  return [claim].flat().filter(text => typeof text === 'string')
}
