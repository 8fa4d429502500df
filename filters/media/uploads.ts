import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import type { Logger } from 'filtered-websocket'
import { FileError, type FileStore, type FileWrite, OwnerLimiter, optionError } from 'filtered-websocket/kit'
import { type AudioFormat, audioFormatProblem } from '../../protocols/nanollm/audio.ts'
import type { MemoryBudget } from './chunk-queue.ts'
import { checkName, savedName } from './names.ts'
import type { SavedFile } from './saved-file.ts'
import { Upload, type UploadJob } from './upload.ts'
import { UploadError, uploadErrorOf } from './upload-error.ts'
import { openUploadFolder } from './upload-folder.ts'
import { MAX_WAV_SAMPLES, WAV_HEADER } from './wav.ts'

export interface UploadsOptions {
  /** Created if its parent exists. */
  readonly folder: string
  /** URL path under which the folder is served, such as `/uploads`. */
  readonly url: string
  /** Accepted extensions, in lower case. */
  readonly types: readonly string[]
  /** Bytes of one file. */
  readonly maxBytes: number
  /** Files in the folder, with running uploads. */
  readonly maxFiles: number
  /** Bytes in the folder, with running uploads. */
  readonly quota: number
  readonly log: Logger
  /** Uploads in chunks of one client at a time. Default: 2. */
  readonly perClient?: number
  /** Uploads in chunks of all clients at a time. Default: 64. */
  readonly total?: number
  /** Bytes of one upload that may wait for the disk. Default: 4 MiB. */
  readonly window?: number
  /** Bytes of all uploads that may wait for the disk. Default: 64 MiB. */
  readonly memory?: number
  /** Milliseconds in which less than 16 KiB end an upload. Default: 30,000. */
  readonly idleMs?: number
  /** Milliseconds since 1970; for tests. */
  readonly now?: () => number
  /** A 32-bit integer; for tests. */
  readonly random?: () => number
}

/** A file of known size, or a recording that ends with a command. */
export type UploadSpec = { readonly name: string; readonly size: number } | { readonly audio: AudioFormat }

type FileSpec = Pick<UploadJob, 'extension' | 'original' | 'size' | 'audio'>

/** An upload in chunks, from before it has a place. */
interface Slot {
  readonly owner: object
  upload?: Upload
  /** The owner has disconnected before the upload began. */
  isCancelled: boolean
}

const EXTENSION = /^[a-z0-9]{1,8}$/
/** Names that are tried; two names of one millisecond are equal with a probability of 1 in 2^32. */
const MAX_TRIES = 8
/** Milliseconds. Without chunks an upload ends after seconds, so older parts are from a process that was killed. */
const PART_AGE = 3_600_000

/** Files of clients, in one folder, under names that the server chooses. */
export class Uploads {
  readonly #options: UploadsOptions
  readonly #limiter: OwnerLimiter
  readonly #slots = new Set<Slot>()
  readonly #memory: MemoryBudget
  #store: FileStore | undefined
  /** Bytes that a client may send beyond those acknowledged. */
  readonly window: number

  constructor(options: UploadsOptions) {
    this.#options = options
    this.window = options.window ?? 4_194_304
    this.#limiter = new OwnerLimiter(options.total ?? 64, options.perClient ?? 2, 'uploads')
    this.#memory = { bytes: 0, max: options.memory ?? 67_108_864 }
  }

  /** Absolute, without links. Empty before `open`. */
  get folder(): string {
    return this.#store?.path ?? ''
  }

  /** @throws (rejects) Error `ERR_OPTION` */
  async open(): Promise<void> {
    const { folder, url, types, maxFiles, quota, now = Date.now } = this.#options
    if (!/^(?:\/[\w~-][\w.~-]*)+$/.test(url))
      throw optionError(`--media-upload-url takes a path such as /uploads, received "${url}"`)
    const invalid = types.find(type => !EXTENSION.test(type))
    if (invalid !== undefined)
      throw optionError(
        `--media-upload-types takes extensions such as png, in lower case and without a dot, received "${invalid}"`,
      )
    this.#store = await openUploadFolder(folder, { maxFiles, quota, now, partAge: PART_AGE, parts: 'prefix' })
    await this.#store.space.count()
  }

  /**
   * Saves a file of one message.
   *
   * @throws (rejects) UploadError
   */
  async save(named: { readonly name: string } | { readonly extension: string }, bytes: Buffer): Promise<SavedFile> {
    const spec: FileSpec = 'name' in named ? checkName(named.name) : { extension: named.extension.toLowerCase() }
    this.#checkType(spec.extension)
    this.#checkSize(bytes.length)
    const write = await this.#beginWrite(bytes.length)
    const window = Math.max(this.window, bytes.length)
    const upload = this.#start({ ...spec, size: bytes.length }, write, () => {}, window)
    upload.write(bytes)
    return upload.done
  }

  /**
   * Begins an upload in chunks.
   *
   * @param owner - `dropOwner` ends its uploads.
   * @throws (rejects) UploadError
   */
  async begin(owner: object, announced: UploadSpec): Promise<Upload> {
    const spec = this.#checkedSpec(announced)
    const slot: Slot = { owner, isCancelled: false }
    let leave = () => {}
    const onEnd = () => {
      this.#slots.delete(slot)
      leave()
    }
    try {
      leave = this.#limiter.enter(owner)
      this.#slots.add(slot)
      const write = await this.#beginWrite(spec.size ?? WAV_HEADER)
      if (slot.isCancelled) {
        await write.end(false)
        throw new UploadError('lost', 'the client has disconnected')
      }
      slot.upload = this.#start(spec, write, onEnd)
      return slot.upload
    } catch (error) {
      onEnd()
      throw uploadErrorOf(error)
    }
  }

  /** Ends the uploads of a client that has disconnected. Settles when their bytes are deleted. */
  dropOwner(owner: object): Promise<void> {
    return this.#cancel(slot => slot.owner === owner, 'the client has disconnected')
  }

  /** Ends all uploads. */
  close(): Promise<void> {
    return this.#cancel(() => true, 'the server stops')
  }

  #checkedSpec(announced: UploadSpec): FileSpec {
    if ('audio' in announced) {
      const { rate, channels } = announced.audio
      const problem = audioFormatProblem(announced.audio)
      if (problem !== undefined) throw new UploadError('format', problem)
      this.#checkType('wav')
      return { extension: 'wav', audio: { rate, channels } }
    }
    const spec = checkName(announced.name)
    this.#checkType(spec.extension)
    this.#checkSize(announced.size)
    return { ...spec, size: announced.size }
  }

  #checkType(extension: string): void {
    const { types } = this.#options
    if (!EXTENSION.test(extension)) throw new UploadError('type', 'an extension has 1 to 8 letters or digits')
    if (!types.includes(extension))
      throw new UploadError('type', `files of type ${extension} are not accepted, only ${types.join(' ')}`)
  }

  #checkSize(size: number): void {
    const { maxBytes } = this.#options
    if (!Number.isSafeInteger(size) || size < 1 || size > maxBytes)
      throw new UploadError('size', `a file has 1 to ${maxBytes} bytes`)
  }

  async #cancel(includes: (slot: Slot) => boolean, reason: string): Promise<void> {
    const slots = [...this.#slots].filter(includes)
    for (const slot of slots) slot.isCancelled = true
    await Promise.all(slots.map(({ upload }) => upload?.cancel(new UploadError('lost', reason))))
  }

  async #beginWrite(bytes: number): Promise<FileWrite> {
    try {
      return await this.#store!.begin({ bytes })
    } catch (error) {
      throw this.#logged(uploadErrorOf(error))
    }
  }

  #start(spec: FileSpec, write: FileWrite, onEnd: () => void, window = this.window): Upload {
    const { maxBytes, idleMs = 30_000 } = this.#options
    const upload = new Upload({
      ...spec,
      write,
      onEnd,
      window,
      maxBytes: spec.audio === undefined ? maxBytes : Math.min(maxBytes, WAV_HEADER + MAX_WAV_SAMPLES),
      idleMs,
      memory: this.#memory,
      commit: () => this.#commit(write, spec.extension),
    })
    upload.done.catch(error => this.#logged(error))
    return upload
  }

  async #commit(write: FileWrite, extension: string): Promise<Pick<SavedFile, 'name' | 'path' | 'url'>> {
    const { url, now = Date.now, random = () => randomInt(2 ** 32) } = this.#options
    for (let tries = 0; tries < MAX_TRIES; tries++) {
      const name = savedName(extension, now(), random())
      try {
        await write.commit(name, false)
        return { name, path: join(this.folder, name), url: `${url}/${name}` }
      } catch (error) {
        if (!(error instanceof FileError && error.code === 'exists')) throw error
      }
    }
    throw new Error(`${MAX_TRIES} names in ${this.folder} exist`)
  }

  /** Logs errors of the system, which clients do not see. */
  #logged(error: UploadError): UploadError {
    if (error.cause !== undefined) this.#options.log.error({ err: error.cause }, 'file of a client cannot be saved')
    return error
  }
}
