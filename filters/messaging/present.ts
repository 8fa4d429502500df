import type { Session } from './session.ts'

/** The peers that are connected to this node, by their ids: several connections may say the same. */
export class Present {
  readonly #sessions = new Map<string, Session[]>()
  /** Of these the ones that have come to another node: at which turn. */
  readonly #elsewhere = new Map<string, number>()

  enter(peer: string, session: Session): void {
    const known = this.#sessions.get(peer)
    if (known === undefined) this.#sessions.set(peer, [session])
    else known.push(session)
  }

  leave(peer: string, session: Session): void {
    const left = (this.#sessions.get(peer) ?? []).filter(other => other !== session)
    if (left.length > 0) {
      this.#sessions.set(peer, left)
    } else {
      this.#sessions.delete(peer)
      this.#elsewhere.delete(peer)
    }
  }

  cameElsewhere(peer: string, turn: number): void {
    if (this.#sessions.has(peer)) this.#elsewhere.set(peer, Math.max(turn, this.#elsewhere.get(peer) ?? turn))
  }

  leftElsewhere(peer: string, turn: number): void {
    if (this.#elsewhere.get(peer) === turn) this.#elsewhere.delete(peer)
  }

  of(peer: string): readonly Session[] {
    return this.#sessions.get(peer) ?? []
  }

  /** The connection that came last to any node, if that is this one. */
  newest(peer: string): Session | undefined {
    const newest = this.#sessions.get(peer)?.at(-1)
    if (newest === undefined || (this.#elsewhere.get(peer) ?? 0) > newest.turn) return undefined
    return newest
  }

  /** Of each peer. */
  *all(): Iterable<Session> {
    for (const peer of this.#sessions.keys()) {
      const session = this.newest(peer)
      if (session !== undefined) yield session
    }
  }
}
