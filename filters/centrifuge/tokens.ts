import type { Client, FilterApis, Payload } from 'filtered-websocket'
import { FORMAT } from './codec.ts'
import { CLOSE, errorOf } from './codes.ts'
import { CommandError } from './command-error.ts'
import { parseCommand, type Request } from './commands.ts'

type Jwt = FilterApis['jwt']
export type TokenReader = Parameters<Jwt['tokenIn']>[0]

/** The rights of a subscription token (Centrifugo, "Channel JWT authorization"). */
export interface Proof {
  /** Seconds since 1970. */
  readonly expires: number | undefined
  /** Data about the client, for other members of the channel. */
  readonly info: unknown
}

/** The token of `connect` is the one of the connection. @param isFor - whether a client speaks this protocol. */
export function tokenReader(isFor: TokenReader['isFor']): TokenReader {
  return {
    isFor,
    read: payload => {
      const { token } = connectIn(payload).connect
      return typeof token === 'string' && token !== '' ? token : undefined
    },
    refused(reason, client, payload) {
      const { id } = connectIn(payload)
      const error = reason === 'expired' ? errorOf(109) : reason.endsWith('unavailable') ? errorOf(100) : undefined
      if (error === undefined || typeof id !== 'number') return client.disconnect(CLOSE.invalidToken, reason)
      // The client sends `connect` again, with a new token if this one has expired.
      return client.answer(JSON.stringify({ id, error }), FORMAT)
    },
  }
}

/**
 * Checks a subscription token: it is valid, and for this client and this channel.
 *
 * @throws CommandError 109: it has expired, and the client gets another one; 103, or 100 if it cannot be checked now.
 */
export async function proofIn(jwt: Jwt | undefined, token: unknown, channel: string, client: Client): Promise<Proof> {
  if (jwt === undefined || typeof token !== 'string') throw new CommandError(103)
  const claims = await jwt.verify(token).catch(error => {
    const { reason } = error as { reason?: unknown }
    throw typeof reason !== 'string' ? error : new CommandError(codeOf(reason))
  })
  if (claims.channel !== channel || claims.sub !== client.identity) throw new CommandError(103)
  return { expires: claims.exp, info: claims.info }
}

/** `expires` and `ttl` of a reply. */
export function expiryOf(expires: number | undefined): { readonly expires?: true; readonly ttl?: number } {
  return expires === undefined ? {} : { expires: true, ttl: Math.max(1, Math.ceil(expires - Date.now() / 1000)) }
}

function codeOf(reason: string): 100 | 103 | 109 {
  return reason === 'expired' ? 109 : reason.endsWith('unavailable') ? 100 : 103
}

/** The first command of a message. */
function connectIn(payload: Payload): { readonly id?: unknown; readonly connect: Request } {
  const { id, connect } = (typeof payload === 'string' && parseCommand(payload.split('\n', 1)[0]!)) || {}
  return { id, connect: typeof connect === 'object' && connect !== null ? (connect as Request) : {} }
}
