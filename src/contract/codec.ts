import type { Payload } from './payload.ts'
import type { About, Loss, LossReason } from './streams.ts'

/** A text message in parts, of UTF-8. */
export interface TextParts {
  readonly text: readonly Uint8Array[]
}

/**
 * An encoded payload: one message, or an array of messages in order; a message may be an array of parts. Parts of 16 KiB or more
 * are sent without a copy and MUST NOT be changed afterwards: clients can share a body behind heads that differ.
 */
export type Encoded = Payload | readonly (Payload | readonly Uint8Array[] | TextParts)[]

/**
 * Encodes payloads for a client. A broadcast is encoded once per codec in its audience.
 *
 * @example
 * const hex: Codec = { name: 'hex', encode: payload => Buffer.from(payload).toString('hex') }
 * export const open = client => { client.codec = hex }
 */
export interface Codec {
  readonly name: string
  /**
   * Formats that its clients read; payloads in other formats are not sent to them. With `notice` it also encodes messages of
   * the server itself for one client; other codecs get notices without a format.
   */
  readonly formats?: readonly string[]
  /**
   * Starts each message with its number on the connection, from 0: 8 bytes, big-endian. The core writes the number, so that
   * all clients share the other bytes. `encode` MUST return a Buffer then, and MUST NOT change it afterwards.
   */
  readonly numbered?: true
  /**
   * Returns `undefined` if the payload is not sent to clients with this codec.
   *
   * @param format - one of `formats`, or `undefined` for a payload sent without a format.
   * @param about - of a message to a topic; `undefined`: it was sent to one client, or to all.
   */
  encode(payload: Payload, format: string | undefined, about?: About): Encoded | undefined
  /**
   * Encodes that entries of a topic are lost to its members; they get the entries behind `about.position`. Default: they are not informed.
   *
   * @param only - id of the only client that is informed. Default: all that are not pending.
   */
  lost?(about: Loss, reason: LossReason, only?: string): Encoded | undefined
  /**
   * The code and the reason of the Close frame in which the server ends a client of this codec, for protocols with their own close
   * codes. Metrics and disconnect handlers keep the server's. If it throws, or returns a code that an endpoint must not send, the
   * server's are sent.
   *
   * @example
   * closing: (code, reason) => (code === 4401 ? { code: 3500, reason: 'invalid token' } : { code, reason })
   */
  closing?(code: number, reason: string): { readonly code: number; readonly reason: string }
}
