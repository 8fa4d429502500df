import { createHash } from 'node:crypto'
import { BoundedMap, FileError, namesIn } from 'filtered-websocket/kit'
import type { PushedPart } from '../../../protocols/clever-show/part.ts'
import { IncomingFile } from './incoming-file.ts'
import { quotaOwnerOf } from './quota-owner.ts'
import type { Store } from './store.ts'
import { isRecognizable, type Sender, Upload } from './upload.ts'

/** Completed uploads whose last answer may have been lost. */
const MAX_COMPLETED = 256

/** Identifies an upload of a sender. */
export type UploadKey = Pick<PushedPart, 'key' | 'size'> & { readonly filepath: string }

export interface UploadHooks {
  /** Called when an upload begins or continues; refuses it by rejecting. */
  allow(): Promise<void>
  /** Called when the file is saved, once unless it rejects: then the last part may be sent again. */
  saved(): Promise<void>
}

/** Files that arrive in parts. A sender with the same id and identity may continue its uploads on another connection. */
export class Uploads {
  readonly #store: Store
  /** By name of the part. */
  readonly #open = new Map<string, Promise<Upload>>()
  /** The hashes of completed uploads, by name of the part. */
  readonly #completed = new BoundedMap<string, string>(MAX_COMPLETED)

  constructor(store: Store) {
    this.#store = store
  }

  /** Bytes that are written of an upload, which moves to this connection. @throws (rejects) FileError `path` */
  async find(sender: Sender, upload: UploadKey): Promise<number> {
    namesIn(upload.filepath)
    const part = partOf(sender, upload)
    if (await this.#isCompleted(part, upload.filepath)) return upload.size
    const open = await this.#open.get(part)?.catch(() => undefined)
    const offset = await open?.moveTo(sender)
    return offset ?? this.#store.files.partSize(part)
  }

  /**
   * Writes a part.
   *
   * @returns bytes that are written.
   * @throws (rejects) FileError; errors of the hooks and of the system
   */
  async append(
    sender: Sender,
    filepath: string,
    pushed: PushedPart,
    bytes: Buffer,
    hooks: UploadHooks,
  ): Promise<number> {
    const { size, key, sha256 = '' } = pushed
    const part = partOf(sender, { filepath, size, key })
    if (pushed.offset === size && this.#completed.get(part) === sha256 && (await this.#isCompleted(part, filepath)))
      return size
    this.#completed.delete(part)
    const append = async () => (await this.#use(part, sender, filepath, size, hooks)).append(sender, pushed, bytes)
    // The upload may have just ended: then another one continues its part.
    const offset = (await append()) ?? (sender.signal.aborted ? undefined : await append())
    if (offset === undefined) throw new FileError('busy', 'the upload has just ended, try again')
    if (offset === size) {
      await hooks.saved()
      this.#completed.set(part, sha256)
    }
    return offset
  }

  /** Ends all uploads and keeps their parts. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#open.values()].map(open => open.then(upload => upload.close())))
  }

  /** Whether the file of a completed upload still exists unchanged. */
  async #isCompleted(part: string, filepath: string): Promise<boolean> {
    const sha256 = this.#completed.get(part)
    if (sha256 === undefined) return false
    const { files, hashes } = this.#store
    const file = await files.file(filepath).catch(() => undefined)
    try {
      if (file !== undefined && (await hashes.of(file)) === sha256) return true
    } finally {
      await file?.close()
    }
    this.#completed.delete(part)
    return false
  }

  #use(part: string, sender: Sender, filepath: string, size: number, hooks: UploadHooks): Promise<Upload> {
    const open = this.#open.get(part)
    if (open !== undefined) return open
    const opening = this.#begin(part, sender, filepath, size, hooks)
    this.#open.set(part, opening)
    opening.catch(() => this.#open.delete(part))
    return opening
  }

  async #begin(part: string, sender: Sender, filepath: string, size: number, hooks: UploadHooks): Promise<Upload> {
    await hooks.allow()
    const plan = { writer: {}, owner: quotaOwnerOf(sender), filepath, size, part }
    const file = await IncomingFile.begin(this.#store, plan)
    if (file.write.size > size) {
      await file.end(false)
      throw new FileError('corrupt', 'the saved part is larger than the file; the next upload begins again')
    }
    return new Upload(file, sender, this.#store.idleTimeout, () => this.#open.delete(part))
  }
}

/** Name of a part: the same for the same sender and file, also after a restart. Without id and identity of the sender it depends on the connection. */
function partOf(sender: Sender, { filepath, size, key }: UploadKey): string {
  const { id, identity = '', state } = sender
  const owner = isRecognizable(sender) ? [identity, state.messaging?.id ?? ''] : [id]
  return partName('key', [...owner, key, filepath, size])
}

/** A file name that depends on all values and reveals none. */
export function partName(kind: string, values: readonly unknown[]): string {
  return `${kind}-${createHash('sha256').update(JSON.stringify(values)).digest('hex').slice(0, 40)}`
}
