import type { Session } from '../rpc/session.ts'

/** The peers that are connected to this node, by their ids: several connections may say the same. */
export class Present {
  readonly #sessions = new Map<string, Session[]>()
  /** Of these the ones that have come to other nodes: to which, at which turn. */
  readonly #elsewhere = new Map<string, Map<string, number>>()

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

  cameElsewhere(peer: string, turn: number, node: string): void {
    if (!this.#sessions.has(peer)) return
    const turns = this.#elsewhere.get(peer) ?? new Map<string, number>()
    turns.set(node, Math.max(turn, turns.get(node) ?? turn))
    this.#elsewhere.set(peer, turns)
  }

  leftElsewhere(peer: string, turn: number, node: string): void {
    const turns = this.#elsewhere.get(peer)
    if (turns?.get(node) !== turn) return
    turns.delete(node)
    if (turns.size === 0) this.#elsewhere.delete(peer)
  }

  /** The other nodes to which peers have come that are here, too. */
  get nodes(): ReadonlySet<string> {
    return new Set([...this.#elsewhere.values()].flatMap(turns => [...turns.keys()]))
  }

  /** A node is dead, and told nobody; answers which of its peers are here, too. */
  ended(node: string): readonly string[] {
    const peers: string[] = []
    for (const [peer, turns] of this.#elsewhere) {
      if (!turns.delete(node)) continue
      if (turns.size === 0) this.#elsewhere.delete(peer)
      peers.push(peer)
    }
    return peers
  }

  of(peer: string): readonly Session[] {
    return this.#sessions.get(peer) ?? []
  }

  /** The connection that came last to any node, if that is this one. */
  newest(peer: string): Session | undefined {
    const newest = this.#sessions.get(peer)?.at(-1)
    if (newest === undefined || Math.max(0, ...(this.#elsewhere.get(peer)?.values() ?? [])) > newest.turn)
      return undefined
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
