import type { Client, Drop, Host, Payload, Renewal, Server } from 'filtered-websocket'
import { handshakeToken, selectProtocol } from './jwt/handshake-token.ts'
import { keySourceOf } from './jwt/keys.ts'
import { isAuth, tokenIn } from './jwt/message.ts'
import type { options } from './jwt/options.ts'
import { type Reason, Refused } from './jwt/refusal.ts'
import { checkRevoked, Revocations, type Revoked } from './jwt/revocations.ts'
import { Sessions, UNAUTHENTICATED } from './jwt/sessions.ts'
import { type Claims, type Token, verifierOf } from './jwt/verify.ts'

export const describe = 'Admit clients that have a valid JSON Web Token'

export { options } from './jwt/options.ts'
export type { Reason } from './jwt/refusal.ts'
export type { Claims } from './jwt/verify.ts'

/** Reads the token in the first message of clients of a protocol. */
export interface TokenReader {
  /** Whether a client speaks the protocol, such as by its path. Without a token in its handshake it is pending until its first message. */
  isFor(client: Client): boolean
  /** The token of a message; `undefined`: it has none, so it is refused. */
  read(payload: Payload, client: Client): string | undefined
  /**
   * Answers a message whose token is missing or refused. Unless it closes the client, the client stays pending and may send another
   * one. Default: closes with 4401, or with 1013 if the token cannot be checked now.
   */
  refused?(reason: Reason, client: Client, payload: Payload): Drop
}

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
  /**
   * Registers a reader of first messages, in `setup` of a protocol filter. A message whose token is valid admits the client and goes on
   * to the protocol.
   *
   * @example
   * jwt.tokenIn({ isFor: client => client.handshake?.url.pathname === '/chat', read: payload => helloIn(payload)?.token })
   */
  tokenIn(reader: TokenReader): void
  /**
   * Checks a token as the one of a connection: length, signature, times, issuer, audience, required claims and revocations. What its
   * claims permit, and whether its `sub` is the client's, is up to the caller.
   *
   * @throws (rejects) Error with a `reason` of type `Reason`, such as `expired`.
   */
  verify(token: string): Promise<Claims>
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
  const readers: TokenReader[] = []
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

  function readerOf(client: Client): TokenReader | undefined {
    return readers.find(reader => reader.isFor(client))
  }

  function mayWait(client: Client): boolean {
    return byFirstMessage || readerOf(client) !== undefined
  }

  async function connect(client: Client): Promise<Drop | undefined> {
    const handshake = client.handshake!
    try {
      const text = handshakeToken(handshake, chosen)
      if (text !== undefined) await accept(await verify(text), client)
      else if (handshake.kind === 'websocket' && mayWait(client)) client.hold()
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
    if (mayWait(client)) client.hold()
    else client.disconnect(UNAUTHENTICATED, 'no token')
  }

  async function firstMessage(payload: Payload, client: Client): Promise<Drop | undefined> {
    const reader = readerOf(client)
    try {
      const token = await verify(reader === undefined ? authIn(payload) : readBy(reader, payload, client))
      await accept(token, client)
      const drop = reader === undefined ? answer(client, acceptance(token)) : undefined
      client.admit()
      return drop
    } catch (error) {
      // A filter failed in its identity handler, or the reader; the client would stay pending.
      if (!(error instanceof Refused)) client.disconnect(FILTER_FAILED, 'a filter failed')
      const { reason, isUnavailable } = refusalOf(error, client)
      const answered = reader?.refused?.(reason, client, payload)
      return answered ?? client.disconnect(isUnavailable ? TRY_AGAIN_LATER : UNAUTHENTICATED, reason)
    }
  }

  function authIn(payload: Payload): string {
    if (!isAuth(payload)) throw new Refused('no token')
    return tokenIn(payload, maxToken)
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

  function message(payload: Payload, client: Client): Promise<Drop | undefined> | undefined {
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
    tokenIn: reader => void readers.push(reader),
    async verify(text) {
      const { claims } = await verify(text)
      await revocations.check(claims)
      return claims
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

function readBy(reader: TokenReader, payload: Payload, client: Client): string {
  const text = reader.read(payload, client)
  if (text === undefined) throw new Refused('no token')
  return text
}

function acceptance({ expires }: Token): Renewal {
  return { auth: 'ok', expires }
}

function answer(client: Client, renewal: Renewal): Drop {
  return client.answer(JSON.stringify(renewal), 'notice')
}
