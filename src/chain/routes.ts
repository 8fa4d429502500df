import type { IncomingMessage } from 'node:http'
import type { Payload } from '../contract/payload.ts'
import type { Chain, ChainClient } from './chain.ts'

/** The chains of the clients and requests of one path. */
export interface Route {
  readonly connect: Chain<ChainClient>
  readonly open: Chain<ChainClient>
  readonly message: Chain<Payload>
  readonly disconnect: Chain<ChainClient>
  readonly request: Chain<IncomingMessage>
}

/** A path that belongs to one filter, with all paths below it. */
export interface Claim {
  /** Such as `/sse`: without a `/` at the end. */
  readonly path: string
  /** Order of the filter. */
  readonly owner: number
  /** Orders of the filters that handle its clients and requests. */
  readonly passes: ReadonlySet<number>
}

/** Targets whose path the URL parser does not change. */
const PLAIN_PATH = /^[\w/-]*(?=$|\?)/

/** Finds the chains of a request target. A filter with claims is in no other chains. */
export class Routes {
  /** For paths without a claim, and for clients of transports without a path. */
  readonly unclaimed: Route
  readonly #claimed: readonly { readonly path: string; readonly folder: string; readonly route: Route }[]

  constructor(all: Route, claims: readonly Claim[]) {
    const owners = new Set(claims.map(({ owner }) => owner))
    this.unclaimed = claims.length === 0 ? all : narrow(all, order => !owners.has(order))
    this.#claimed = claims.map(({ path, passes }) => ({
      path,
      folder: `${path}/`,
      route: narrow(all, order => passes.has(order)),
    }))
  }

  /** @param target - in origin form. */
  of(target: string): Route {
    if (this.#claimed.length === 0) return this.unclaimed
    const asked = pathOf(target)
    const found = this.#claimed.find(({ path, folder }) => asked === path || asked.startsWith(folder))
    return found?.route ?? this.unclaimed
  }
}

function narrow({ connect, open, message, disconnect, request }: Route, has: (order: number) => boolean): Route {
  return {
    connect: connect.only(has),
    open: open.only(has),
    message: message.only(has),
    disconnect: disconnect.only(has),
    request: request.only(has),
  }
}

/** The path as in `handshake.url`, without dot segments: a filter must not get one that it does not claim. */
function pathOf(target: string): string {
  const plain = PLAIN_PATH.exec(target)
  if (plain !== null) return plain[0]
  const url = `http://host${target}`
  return URL.canParse(url) ? new URL(url).pathname : target
}
