import type { StreamEntry } from '../contract/streams.ts'
import { Pieces } from '../fanout/pieces.ts'
import type { Wire } from '../fanout/wire.ts'

/** The frames of missed entries for the clients of one wire, one behind the other. */
export interface RecoveredFrames {
  /** Undefined if an entry has large parts, which are not copied. */
  readonly bytes: Buffer | undefined
  readonly frames: readonly (Buffer | Pieces)[]
  /** Offset in `bytes` of the end of each frame. */
  readonly ends: readonly number[]
}

/** Frames each missed entry once per wire, for all clients that return. */
export class Recoveries {
  /** By the array that the answers of the clients share. */
  readonly #known = new WeakMap<readonly StreamEntry[], Map<Wire, RecoveredFrames>>()

  of(entries: readonly StreamEntry[], wire: Wire, topic: string, epoch: string): RecoveredFrames {
    let byWire = this.#known.get(entries)
    if (byWire === undefined) {
      byWire = new Map()
      this.#known.set(entries, byWire)
    }
    let recovered = byWire.get(wire)
    if (recovered === undefined) {
      recovered = frame(entries, wire, topic, epoch)
      byWire.set(wire, recovered)
    }
    return recovered
  }
}

function frame(entries: readonly StreamEntry[], wire: Wire, topic: string, epoch: string): RecoveredFrames {
  const frames = entries.map(({ payload, format, offset }) =>
    wire.encode(payload, format, { topic, position: { epoch, offset } }),
  )
  let end = 0
  const ends = frames.map(({ length }) => (end += length))
  const isWhole = !frames.some(one => one instanceof Pieces)
  return { frames, ends, bytes: isWhole ? Buffer.concat(frames as Buffer[], end) : undefined }
}
