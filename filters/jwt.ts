import type { Client, Drop, Host, Payload, Renewal, Server } from 'filtered-websocket'
import { handshakeToken, selectProtocol } from './jwt/handshake-token.ts'
import { keySourceOf } from './jwt/keys.ts'
import { isAuth, tokenIn } from './jwt/message.ts'
import type { options } from './jwt/options.ts'
import { Refused } from './jwt/refusal.ts'
import { checkRevoked, Revocations, type Revoked } from './jwt/revocations.ts'
import { Sessions, UNAUTHENTICATED } from './jwt/sessions.ts'
import { type Claims, type Token, verifierOf } from './jwt/verify.ts'

export const describe = 'Admit clients that have a valid JSON Web Token'

export { options } from './jwt/options.ts'

/** The api of `host.use('jwt')`. */
export interface JwtApi {
  /**
   * Revokes all tokens issued to a subject so far, or the token with an id, on all nodes, and closes their clients with 4403.
   *
   * Revocation by id closes only clients of this node; other nodes refuse the token at its next use.
   *
   * @param seconds - duration of the revocation; make it longer than the lifetime of the tokens. Default: a day.
   * @throws TypeError for an invalid argument; rejects if the storage cannot store the revocation.
   */
  revoke(which: Revoked, seconds?: number): Promise<void>
}

declare module 'filtered-websocket' {
  interface ClientState {
    /** The claims of its token. */
    user?: Claims
  }
  interface FilterApis {
    jwt: JwtApi
  }
}

export const stage = 'guard'
export const needs = ['values'] as const

/** WebSocket close codes. */
const REVOKED = 4403
const FILTER_FAILED = 1011
const TRY_AGAIN_LATER = 1013
const DAY = 86_400

/** Admits clients with a valid token, and closes them when it expires or is revoked. */
export const setup = async ({ options: chosen, storage, log, every }: Host<typeof options>) => {
  const keys = await keySourceOf(chosen, (error, message) => log.error({ err: error }, message))
  const verify = verifierOf(chosen, keys)
  const revocations = new Revocations(storage.values, chosen['jwt-clock-tolerance'])
  const sessions = new Sessions(chosen['jwt-grace'], chosen['jwt-topics'])
  const { 'jwt-first-message': byFirstMessage, 'jwt-max-token': maxToken } = chosen
  let server: Server | undefined
  if (chosen['jwt-jwks-url'] !== undefined && chosen['jwt-audience'].length + chosen['jwt-require'].length === 0)
    log.warn('without --jwt-audience or --jwt-require, tokens that the issuer signed for other services are accepted')
  every(1000, () => sessions.sweep(Date.now() / 1000))

  async function accept(token: Token, client: Client): Promise<void> {
    await sessions.begin(client, token, claims => revocations.check(claims))
    client.state.renewToken = (text, owner) => renew(() => text, owner)
  }

  function refusalOf(error: unknown, client: Client): Refused {
    if (!(error instanceof Refused)) throw error
    log.debug({ client: client.id, reason: error.reason }, 'not authenticated')
    return error
  }

  async function connect(client: Client): Promise<Drop | undefined> {
    const handshake = client.handshake!
    try {
      const text = handshakeToken(handshake, chosen)
      if (text !== undefined) await accept(await verify(text), client)
      else if (byFirstMessage && handshake.kind === 'websocket') client.hold()
      else throw new Refused('no token')
    } catch (error) {
      const { message, answer } = refusalOf(error, client)
      return client.refuse(answer.status, message, answer.headers)
    }
    handshake.protocol ??= selectProtocol(handshake.protocols)
    return undefined
  }

  /** Checks clients without a token: pending ones, and those of a transport without a handshake. */
  function open(client: Client): void {
    sessions.opened(client)
    if (sessions.tokenOf(client) !== undefined) return
    if (byFirstMessage) client.hold()
    else client.disconnect(UNAUTHENTICATED, 'no token')
  }

  async function firstMessage(payload: Payload, client: Client): Promise<Drop> {
    try {
      if (!isAuth(payload)) throw new Refused('no token')
      const token = await verify(tokenIn(payload, maxToken))
      await accept(token, client)
      const drop = answer(client, acceptance(token))
      client.admit()
      return drop
    } catch (error) {
      // A filter failed in its identity handler; the client would stay pending.
      if (!(error instanceof Refused)) client.disconnect(FILTER_FAILED, 'a filter failed')
      const { reason, isUnavailable } = refusalOf(error, client)
      return client.disconnect(isUnavailable ? TRY_AGAIN_LATER : UNAUTHENTICATED, reason)
    }
  }

  /** @param read - reads the token, or throws `Refused`. */
  async function renew(read: () => string, client: Client): Promise<Renewal | Drop> {
    const current = sessions.tokenOf(client)!
    try {
      const token = await verify(read())
      const isSame = token.claims.sub === current.claims.sub && token.claims.iss === current.claims.iss
      if (!isSame) throw new Refused('another subject')
      await accept(token, client)
      return acceptance(token)
    } catch (error) {
      // Other filters may have applied the new token only in part.
      if (!(error instanceof Refused)) client.disconnect(FILTER_FAILED, 'a filter failed')
      const { reason } = refusalOf(error, client)
      // For other reasons the current token stays valid.
      if (reason !== 'another subject' && reason !== 'revoked') return { auth: 'error', reason }
      return client.disconnect(UNAUTHENTICATED, reason)
    }
  }

  async function refresh(payload: Payload, client: Client): Promise<Drop> {
    const renewal = await renew(() => tokenIn(payload, maxToken), client)
    return typeof renewal === 'symbol' ? renewal : answer(client, renewal)
  }

  function message(payload: Payload, client: Client): Promise<Drop> | undefined {
    if (sessions.tokenOf(client) === undefined) return firstMessage(payload, client)
    return isAuth(payload) ? refresh(payload, client) : undefined
  }

  const api: JwtApi = {
    async revoke(which, seconds = DAY) {
      checkRevoked(which, seconds)
      try {
        // Before closing clients, or they could reconnect at once.
        await revocations.add(which, seconds)
      } finally {
        if ('sub' in which) server?.disconnect(which, REVOKED, 'revoked')
        else await sessions.eachWithId(which.jti, client => client.disconnect(REVOKED, 'revoked'))
      }
    },
  }

  return {
    connect,
    open,
    message,
    disconnect: (client: Client) => sessions.closed(client),
    start: (started: Server) => {
      server = started
      keys.prefetch?.()
    },
    api,
  }
}

function acceptance({ expires }: Token): Renewal {
  return { auth: 'ok', expires }
}

function answer(client: Client, renewal: Renewal): Drop {
  return client.answer(JSON.stringify(renewal), 'notice')
}
