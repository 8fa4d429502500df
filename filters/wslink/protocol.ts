import type { Encoded, Payload } from 'filtered-websocket'
import type { Envelope } from './envelope.ts'

/** A version of the protocol: encodes and decodes messages. */
export interface Protocol {
  readonly name: 'wslink-1' | 'wslink-2'
  /** Fields of the reply to hello besides the client's id. */
  readonly welcome: Readonly<Record<string, unknown>>
  /**
   * Creates the reader of a client.
   *
   * @param limit - maximum bytes of a message before admission.
   */
  reader(limit: number): Reader
  /** Encodes an envelope. @throws if it cannot be serialized. */
  write(envelope: Envelope): Encoded
  /** Encodes an envelope that is packed as msgpack for all versions. */
  rewrite(packed: Buffer): Encoded
}

/** Decodes the messages of a client, and stores unfinished ones. */
export interface Reader {
  /**
   * Returns a decoded message; `undefined` if it is incomplete or ignored.
   *
   * @param now - milliseconds, on any clock.
   * @throws ProtocolError
   */
  read(payload: Payload, now: number): unknown
  /** Sets the maximum bytes of a message and of all unfinished messages after admission. */
  admit(limit: number): void
  /** Time since which an unfinished message is idle; `undefined` if there is none. */
  readonly since: number | undefined
  /** Restarts the idle time: the client could not continue before. */
  touch(now: number): void
}
