import type { Payload } from '../contract/payload.ts'
import { Pieces } from './pieces.ts'
import type { Wire } from './wire.ts'

/** The frames of a batch for clients of one kind, joined; `ends[i]` is where frame i ends. */
export interface Run {
  readonly buffer: Buffer
  /** In the place of `buffer`: the pieces of each frame, where one has large parts that are not to be copied. */
  readonly pieces: readonly (readonly Buffer[])[] | undefined
  readonly ends: readonly number[]
  /** Frames that are not empty. */
  readonly count: number
}

const NOTHING = Buffer.alloc(0)

/** The broadcasts to one topic in one turn of the event loop. */
export class Batch {
  /** Place of each broadcast among all sends. */
  readonly seqs: number[] = []
  readonly excepts: (object | undefined)[] = []
  readonly #frames = new Map<Wire, (Buffer | Pieces)[]>()
  readonly #runs = new Map<Wire, Run>()

  get first(): number {
    return this.seqs[0]!
  }

  /** Frames the payload once for every kind of client among the members; answers the bytes that this took. */
  append(
    seq: number,
    payload: Payload,
    format: string | undefined,
    except: object | undefined,
    wires: Iterable<Wire>,
  ): number {
    let bytes = 0
    for (const wire of wires) {
      let frames = this.#frames.get(wire)
      if (frames === undefined) {
        frames = []
        this.#frames.set(wire, frames)
      }
      // While there was no member of this kind, nothing was framed for it.
      while (frames.length < this.seqs.length) frames.push(NOTHING)
      const frame = wire.encode(payload, format)
      frames.push(frame)
      bytes += frame.length
    }
    this.seqs.push(seq)
    this.excepts.push(except)
    if (this.#runs.size > 0) this.#runs.clear()
    return bytes
  }

  /** All frames for clients of this kind as one buffer, made once and shared by all of them. */
  run(wire: Wire): Run {
    const known = this.#runs.get(wire)
    if (known !== undefined) return known
    const frames = this.#frames.get(wire) ?? []
    const ends: number[] = []
    let end = 0
    let count = 0
    for (let i = 0; i < this.seqs.length; i++) {
      const length = frames[i]?.length ?? 0
      if (length > 0) count++
      end += length
      ends.push(end)
    }
    const isPieced = frames.some(frame => frame instanceof Pieces)
    const run = {
      buffer: isPieced ? NOTHING : joined(frames as Buffer[], end),
      pieces: isPieced ? frames.map(frame => (frame instanceof Pieces ? frame.pieces : [frame])) : undefined,
      ends,
      count,
    }
    this.#runs.set(wire, run)
    return run
  }
}

function joined(frames: readonly Buffer[], length: number): Buffer {
  return frames.length === 1 ? frames[0]! : Buffer.concat(frames, length)
}
