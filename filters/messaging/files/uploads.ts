import { createHash } from 'node:crypto'
import { BoundedMap, FileError, namesIn } from 'filtered-websocket/kit'
import type { PushedPart } from '../../../protocols/clever-show/part.ts'
import { quotaOwnerOf } from './quota-owner.ts'
import { canComeBack, type Sender, Upload } from './upload.ts'
import { type Store, Writing } from './writing.ts'

/** Of uploads that are done, whose last answer may have been lost. */
const REMEMBERED = 256

/** Which upload is meant. */
export type Named = Pick<PushedPart, 'key' | 'size'> & { readonly filepath: string }

/** Who is asked, and told. */
export interface UploadHooks {
  /** Whether the file may come; asked when an upload begins or goes on. */
  allow(): Promise<void>
  /** It is in its place; told once, however often the last part comes, unless it throws: then the file may come again. */
  placed(): Promise<void>
}

/** Files that come in parts. Whoever comes back under the same id and identity goes on with his own. */
export class Uploads {
  readonly #store: Store
  /** By the name of the part. */
  readonly #open = new Map<string, Promise<Upload>>()
  /** What has become of those that are done: its sha256. */
  readonly #done = new BoundedMap<string, string>(REMEMBERED)

  constructor(store: Store) {
    this.#store = store
  }

  /** Bytes that are there of an upload, which is this client's from now on. @throws FileError `path`. */
  async find(client: Sender, named: Named): Promise<number> {
    namesIn(named.filepath)
    const part = partOf(client, named)
    if (await this.#isDone(part, named.filepath)) return named.size
    const open = await this.#open.get(part)?.catch(() => undefined)
    const offset = await open?.moveTo(client)
    if (offset !== undefined) return offset
    return this.#store.files.partSize(part)
  }

  /**
   * Takes a part.
   *
   * @returns bytes that are there.
   * @throws FileError; what is thrown by the hooks; what the system says.
   */
  async take(client: Sender, filepath: string, pushed: PushedPart, bytes: Buffer, hooks: UploadHooks): Promise<number> {
    const { size, key, sha256 = '' } = pushed
    const part = partOf(client, { filepath, size, key })
    if (pushed.offset === size && this.#done.get(part) === sha256 && (await this.#isDone(part, filepath))) return size
    this.#done.delete(part)
    const taken = async () =>
      (await this.#upload(part, client, { filepath, size, key }, hooks)).take(client, pushed, bytes)
    // The first may be ending: it goes on as another.
    const offset = (await taken()) ?? (client.signal.aborted ? undefined : await taken())
    if (offset === undefined) throw new FileError('busy', 'the transfer has just ended, try again')
    if (offset === size) {
      await hooks.placed()
      this.#done.set(part, sha256)
    }
    return offset
  }

  /** Ends all of them; what is there stays. */
  async close(): Promise<void> {
    await Promise.allSettled([...this.#open.values()].map(open => open.then(upload => upload.close())))
  }

  /** Whether what it has become is still in its place: anybody may have written there since. */
  async #isDone(part: string, filepath: string): Promise<boolean> {
    const sha256 = this.#done.get(part)
    if (sha256 === undefined) return false
    const { files, hashes } = this.#store
    const file = await files.file(filepath).catch(() => undefined)
    try {
      if (file !== undefined && (await hashes.of(file)) === sha256) return true
    } finally {
      await file?.close()
    }
    this.#done.delete(part)
    return false
  }

  #upload(part: string, client: Sender, named: Named, hooks: UploadHooks): Promise<Upload> {
    const known = this.#open.get(part)
    if (known !== undefined) return known
    const opening = this.#begin(part, client, named, hooks)
    this.#open.set(part, opening)
    opening.catch(() => this.#open.delete(part))
    return opening
  }

  async #begin(part: string, client: Sender, { filepath, size }: Named, hooks: UploadHooks): Promise<Upload> {
    await hooks.allow()
    const writing = await Writing.begin(this.#store, { writer: {}, owner: quotaOwnerOf(client), filepath, size, part })
    if (writing.file.size > size) {
      await writing.end(false)
      throw new FileError('corrupt', 'the part is larger than the file; the upload begins again')
    }
    return new Upload(writing, client, this.#store.idleTimeout, () => this.#open.delete(part))
  }
}

/** The same for the same peer and file, also after a restart; of those whom nobody knows each connection has its own. */
function partOf(sender: Sender, { filepath, size, key }: Named): string {
  const { id, identity = '', state } = sender
  const who = canComeBack(sender) ? [identity, state.messaging?.id ?? ''] : [id]
  return partName('key', [...who, key, filepath, size])
}

/** A name that tells nothing, for what is told apart by these. */
export function partName(kind: string, what: readonly unknown[]): string {
  return `${kind}-${createHash('sha256').update(JSON.stringify(what)).digest('hex').slice(0, 40)}`
}
