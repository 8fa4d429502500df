import type { Encoded, Payload } from 'filtered-websocket'
import type { Envelope } from './envelope.ts'

/** One generation of the protocol: how messages look on the wire. */
export interface Generation {
  readonly name: 'wslink-1' | 'wslink-2'
  /** What its hello is told beside the client's id. */
  readonly welcome: Readonly<Record<string, unknown>>
  /**
   * One for each client.
   *
   * @param limit - bytes of a message until it is admitted.
   */
  reader(limit: number): Reader
  /** @throws when it cannot be serialised. */
  write(envelope: Envelope): Encoded
  /** The same of an envelope that was packed as msgpack for clients of every generation. */
  rewrite(packed: Buffer): Encoded
}

/** Keeps what one client has not finished. */
export interface Reader {
  /**
   * A message decoded; `undefined`: none is complete, or it is one to be ignored.
   *
   * @param now - milliseconds, on any clock.
   * @throws Fatal
   */
  read(payload: Payload, now: number): unknown
  /** From now on so many bytes may be in a message, and in all that is unfinished. */
  admit(limit: number): void
  /** When the unfinished came on that waits longest; `undefined`: nothing is unfinished. */
  readonly since: number | undefined
  /** Nobody could go on before. */
  touch(now: number): void
}
