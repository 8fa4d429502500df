import { type Client, EVERYONE } from 'filtered-websocket'
import { claimStrings, inSlices } from 'filtered-websocket/kit'
import type { Claims, Token } from './verify.ts'

/** WebSocket close code: not authenticated, or the token has expired. */
export const UNAUTHENTICATED = 4401

interface Session {
  readonly token: Token
  /** Topics from its claim. */
  readonly topics: ReadonlySet<string>
  /** Whether the client has been notified that its token expired. */
  isWarned: boolean
}

/** The tokens of clients; warns and closes clients when they expire. */
export class Sessions {
  readonly #graceSeconds: number
  readonly #topicsClaim: string | undefined
  /** Weak, since a client may never open. */
  readonly #sessions = new WeakMap<Client, Session>()
  readonly #open = new Set<Client>()
  /** Clients with a token id that are not open yet. */
  readonly #arriving = new Set<Client>()
  /** Tokens whose revocation check is pending. */
  readonly #unchecked = new WeakMap<Client, Token>()

  /** @param topicsClaim - claim with the topics of a client. */
  constructor(graceSeconds: number, topicsClaim: string | undefined) {
    this.#graceSeconds = graceSeconds
    this.#topicsClaim = topicsClaim
  }

  tokenOf(client: Client): Token | undefined {
    return this.#sessions.get(client)?.token
  }

  /** Handles the clients with this token id, also those whose check is pending. */
  async eachWithId(jti: string, handle: (client: Client) => void): Promise<void> {
    const tokensOf = (client: Client) => [this.tokenOf(client), this.#unchecked.get(client)]
    // In this order, since clients open meanwhile.
    for (const clients of [this.#arriving, this.#open])
      await inSlices(clients, client => {
        if (tokensOf(client).some(token => token?.claims.jti === jti)) handle(client)
      })
  }

  /**
   * Sets or replaces the token of a client, with its identity and topics.
   *
   * @param check - rejects if the token is revoked; the client then keeps its previous token and identity.
   */
  async begin(client: Client, token: Token, check: (claims: Claims) => Promise<void>): Promise<void> {
    const { claims } = token
    const { identity } = client
    // Before the check, so that a revocation after it finds the client.
    // A token without `sub` keeps the identity of a client certificate.
    if (claims.sub !== undefined) client.identity = claims.sub
    if (claims.jti !== undefined) this.#expect(client)
    this.#unchecked.set(client, token)
    try {
      await check(claims)
    } catch (error) {
      client.identity = identity
      throw error
    } finally {
      this.#unchecked.delete(client)
    }
    client.state.user = claims
    const previous = this.#sessions.get(client)?.topics ?? new Set()
    const topics = new Set(this.#topicsClaim === undefined ? [] : claimStrings(claims, this.#topicsClaim))
    // Not a topic that is joined: all clients get its messages.
    topics.delete(EVERYONE)
    this.#sessions.set(client, { token, topics, isWarned: false })
    for (const topic of previous) if (!topics.has(topic)) client.leave(topic, 'unsubscribed')
    // Another guard may forbid it.
    for (const topic of topics) if (client.may('join', topic)) client.join(topic)
    await client.recheck()
  }

  /** Tracks the client until it opens or disconnects. */
  #expect(client: Client): void {
    if (this.#open.has(client)) return
    this.#arriving.add(client)
    client.onGone(() => this.#arriving.delete(client))
  }

  opened(client: Client): void {
    this.#arriving.delete(client)
    this.#open.add(client)
  }

  closed(client: Client): void {
    this.#open.delete(client)
  }

  /**
   * Warns clients whose token has expired, and closes them after the grace period. One sweep per second costs less than a
   * timer per client, and works for expiries beyond the range of timers.
   *
   * @param now - seconds since 1970.
   */
  sweep(now: number): Promise<void> | undefined {
    return inSlices(this.#open, client => {
      const session = this.#sessions.get(client)
      if (session === undefined) return
      const { expires } = session.token
      if (now >= expires + this.#graceSeconds) {
        client.disconnect(UNAUTHENTICATED, 'token expired')
      } else if (now >= expires && !session.isWarned) {
        session.isWarned = true
        client.send(JSON.stringify({ auth: 'expiring', expires }), 'notice')
      }
    })
  }
}
