import type { AudioFormat } from '../../protocols/nanollm/audio.ts'
import type { Uploaded as NamedFile } from '../../protocols/nanollm/upload.ts'

/** A file that a client sent in chunks, as other clients may see it. */
export interface Uploaded extends NamedFile {
  /** By the first bytes; `audio`: a recording, as WAV. */
  readonly kind: 'file' | 'image' | 'audio'
  /** The client's name of the file, validated. Never part of a path. */
  readonly original?: string
}

/** A complete file on the disk. A recording has `rate` and `channels`. */
export interface SavedFile extends Uploaded, Partial<AudioFormat> {
  /** Absolute. */
  readonly path: string
  /** In lower case. */
  readonly extension: string
  /** MIME type, if the first bytes have a signature. */
  readonly mime?: string
}
