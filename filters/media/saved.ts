import type { AudioFormat } from '../../protocols/nanollm/audio.ts'

/** A file that is whole, on the disk and under its own name. */
export interface Saved extends Partial<AudioFormat> {
  /** As the server made it. */
  readonly name: string
  /** Absolute. */
  readonly path: string
  /** Where it is served: a path of this server. */
  readonly url: string
  /** Bytes. */
  readonly size: number
  /** `audio`: a recording, with its `rate` and `channels`; `image`: one by its bytes. */
  readonly kind: 'file' | 'image' | 'audio'
  readonly extension: string
  /** What its client calls it, checked. */
  readonly original?: string
  /** As far as its bytes tell. */
  readonly mime?: string
}
