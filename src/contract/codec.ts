import type { Payload } from './payload.ts'

/**
 * What a codec makes of a payload: one message, or several in their order, of which a binary one may be in parts. Parts from
 * 16 KiB on go out as they are, not copied: nobody may change them any more.
 */
export type Encoded = Payload | readonly (Payload | readonly Uint8Array[])[]

/** How payloads look to a client. A broadcast is encoded once per codec in its audience. */
export interface Codec {
  readonly name: string
  /**
   * Formats that it reads; what is sent in another one is not for its clients. With `notice` it also encodes text that the
   * server itself has for one client; all other codecs get notices without a format.
   */
  readonly formats?: readonly string[]
  /**
   * Each message begins with its number on the connection, from 0: 8 bytes, big-endian. The core writes it, so that all
   * clients share the rest. `encode` gives a Buffer then, which nobody changes any more.
   */
  readonly numbered?: true
  /**
   * `undefined`: this payload is not for such a client.
   *
   * @param format - one of `formats`; `undefined`: a payload as any filter sends it.
   */
  encode(payload: Payload, format: string | undefined): Encoded | undefined
}
