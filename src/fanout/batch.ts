import type { Payload } from '../contract/payload.ts'
import type { About, Loss, LossReason } from '../contract/streams.ts'
import { join } from './block.ts'
import { Pieces } from './pieces.ts'
import type { Wire } from './wire.ts'

/** The joined frames of a batch for one wire; `ends[i]` is the end offset of frame i. */
export interface Run {
  readonly buffer: Buffer
  /** Used instead of `buffer` if a frame has large parts, which are not copied: the pieces of each frame. */
  readonly pieces: readonly (readonly Buffer[])[] | undefined
  readonly ends: readonly number[]
  /** Number of frames that are not empty. */
  readonly count: number
}

const NOTHING = Buffer.alloc(0)

/** The broadcasts to one topic in one turn of the event loop. */
export class Batch {
  /** Sequence number of each broadcast. */
  readonly seqs: number[] = []
  readonly excepts: (object | undefined)[] = []
  readonly #frames = new Map<Wire, (Buffer | Pieces)[]>()
  readonly #runs = new Map<Wire, Run>()

  get first(): number {
    return this.seqs[0]!
  }

  /**
   * Frames the payload once per wire; returns the bytes of the new frames.
   *
   * @param about - of a kept topic; with `lost` its entries are lost up to there, and there is no payload.
   */
  append(
    seq: number,
    payload: Payload,
    format: string | undefined,
    except: object | undefined,
    wires: Iterable<Wire>,
    about?: About,
    lost?: LossReason,
  ): number {
    let bytes = 0
    for (const wire of wires) {
      let frames = this.#frames.get(wire)
      if (frames === undefined) {
        frames = []
        this.#frames.set(wire, frames)
      }
      // Earlier broadcasts, before a member with this wire joined, have no frame.
      while (frames.length < this.seqs.length) frames.push(NOTHING)
      const frame = lost === undefined ? wire.encode(payload, format, about) : wire.encodeLoss(about as Loss, lost)
      frames.push(frame)
      bytes += frame.length
    }
    this.seqs.push(seq)
    this.excepts.push(except)
    if (this.#runs.size > 0) this.#runs.clear()
    return bytes
  }

  /** All frames for a wire in one buffer, joined once and shared by its clients. */
  run(wire: Wire): Run {
    const cached = this.#runs.get(wire)
    if (cached !== undefined) return cached
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
      buffer: isPieced ? NOTHING : end === 0 ? NOTHING : join(frames as Buffer[], end),
      pieces: isPieced ? frames.map(frame => (frame instanceof Pieces ? frame.pieces : [frame])) : undefined,
      ends,
      count,
    }
    this.#runs.set(wire, run)
    return run
  }
}
