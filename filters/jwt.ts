import type { Client, Drop, Host, Payload, Renewal, Server } from 'filtered-websocket'
import { keySourceOf } from './jwt/keys.ts'
import { isAuth, tokenIn } from './jwt/message.ts'
import { protocolAnswered, tokenOffered } from './jwt/offered.ts'
import type { options } from './jwt/options.ts'
import { Refused } from './jwt/refused.ts'
import { checkRevoked, Revocations, type Revoked } from './jwt/revocations.ts'
import { Sessions, UNAUTHENTICATED } from './jwt/sessions.ts'
import { type Claims, type Token, verifierOf } from './jwt/verify.ts'

export const describe = 'Admit clients that have a valid JSON Web Token'

export { options } from './jwt/options.ts'

/** What `host.use('jwt')` gives. */
export interface JwtApi {
  /**
   * Refuses, on every node and for so many seconds (default: a day), all tokens that a subject has been issued so far, or
   * the one of this id; and closes their clients with 4403, by id only those of this node. Rejects when the storage could
   * not keep it.
   */
  revoke(which: Revoked, seconds?: number): Promise<void>
}

declare module 'filtered-websocket' {
  interface ClientState {
    /** What its token says. */
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

/** Lets in who has a token, as long as it is good. */
export const setup = async ({ options: chosen, storage, log, every }: Host<typeof options>) => {
  const keys = await keySourceOf(chosen, (error, text) => log.error({ err: error }, text))
  const verify = verifierOf(chosen, keys)
  const revocations = new Revocations(storage.values, chosen['jwt-clock-tolerance'])
  const sessions = new Sessions(chosen['jwt-grace'], chosen['jwt-topics'])
  const { 'jwt-first-message': byFirstMessage, 'jwt-max-token': maxToken } = chosen
  let server: Server | undefined
  if (chosen['jwt-jwks-url'] !== undefined && chosen['jwt-audience'].length === 0)
    log.warn('without --jwt-audience, tokens that the issuer made for other services are taken too')
  every(1000, () => sessions.sweep(Date.now() / 1000))

  async function take(token: Token, client: Client): Promise<void> {
    await sessions.begin(client, token, claims => revocations.check(claims))
    client.state.renewToken = (text, of) => renew(() => text, of)
  }

  function refusalOf(error: unknown, client: Client): Refused {
    if (!(error instanceof Refused)) throw error
    log.debug({ client: client.id, reason: error.reason }, 'not authenticated')
    return error
  }

  async function connect(client: Client): Promise<Drop | undefined> {
    const handshake = client.handshake!
    try {
      const text = tokenOffered(handshake, chosen)
      if (text !== undefined) await take(await verify(text), client)
      else if (byFirstMessage) client.hold()
      else throw new Refused('no token')
    } catch (error) {
      const { message, answer } = refusalOf(error, client)
      return client.refuse(answer.status, message, answer.headers)
    }
    handshake.protocol ??= protocolAnswered(handshake.protocols)
    return undefined
  }

  /** A transport without a handshake comes here with nothing, and a client on hold too. */
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
      await take(token, client)
      const answered = answer(client, accepted(token))
      client.admit()
      return answered
    } catch (error) {
      // Of a filter that was told of the user; nobody else would end the hold.
      if (!(error instanceof Refused)) client.disconnect(FILTER_FAILED, 'a filter failed')
      const { reason, isOurs } = refusalOf(error, client)
      return client.disconnect(isOurs ? TRY_AGAIN_LATER : UNAUTHENTICATED, reason)
    }
  }

  /** @param read - reads the token, or throws `Refused`. */
  async function renew(read: () => string, client: Client): Promise<Renewal | Drop> {
    const before = sessions.tokenOf(client)!
    try {
      const token = await verify(read())
      const isSame = token.claims.sub === before.claims.sub && token.claims.iss === before.claims.iss
      if (!isSame) throw new Refused('another subject')
      await take(token, client)
      return accepted(token)
    } catch (error) {
      // What follows from the new token may have been done by half.
      if (!(error instanceof Refused)) client.disconnect(FILTER_FAILED, 'a filter failed')
      const { reason } = refusalOf(error, client)
      // Otherwise the token that it has is as good as before.
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
        // Before anybody is closed, or they would be back at once.
        await revocations.add(which, seconds)
      } finally {
        if ('sub' in which) server?.disconnect(which, REVOKED, 'revoked')
        else for (const client of sessions.withId(which.jti)) client.disconnect(REVOKED, 'revoked')
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
    },
    api,
  }
}

function accepted({ expires }: Token): Renewal {
  return { auth: 'ok', expires }
}

function answer(client: Client, renewal: Renewal): Drop {
  return client.answer(JSON.stringify(renewal), 'notice')
}
