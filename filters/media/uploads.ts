import { randomInt } from 'node:crypto'
import { join } from 'node:path'
import type { Logger } from 'filtered-websocket'
import { FileError, type FileStore, type FileWrite, OwnerLimiter, optionError } from 'filtered-websocket/kit'
import { type AudioFormat, audioFormatProblem } from '../../protocols/nanollm/audio.ts'
import type { Memory } from './chunks.ts'
import { openFolder } from './folder.ts'
import { checkName, savedName } from './names.ts'
import { Refused, refusedBy } from './refused.ts'
import type { Saved } from './saved.ts'
import { type Job, Upload } from './upload.ts'
import { WAV_HEADER, WAV_MAX } from './wav.ts'

export interface UploadsOptions {
  /** Made if its parent exists. */
  readonly folder: string
  /** Where it is served: `/uploads`. */
  readonly url: string
  /** Extensions that are taken, in lower case. */
  readonly types: readonly string[]
  /** Of one file. */
  readonly maxBytes: number
  /** In the folder; `quota`: bytes in it. What is under way counts. */
  readonly maxFiles: number
  readonly quota: number
  readonly log: Logger
  /** Uploads in chunks at a time of one client, default 2, and of all, default 64. */
  readonly perClient?: number
  readonly total?: number
  /** Bytes of one upload that may wait for the disk, default 4 MiB, and of all, default 64 MiB. */
  readonly window?: number
  readonly memory?: number
  /** Milliseconds in which less than 16 KiB end an upload; default 30,000. */
  readonly idleMs?: number
  /** Milliseconds since 1970, and an integer of 32 bits: for tests. */
  readonly now?: () => number
  readonly random?: () => number
}

/** A file of known size, or a recording that ends when it ends. */
export type Announced = { readonly name: string; readonly size: number } | { readonly audio: AudioFormat }

/** What one upload brings; the rest of its job is the same for all. */
type Own = Pick<Job, 'extension' | 'write' | 'left'> & Partial<Pick<Job, 'original' | 'size' | 'sound' | 'window'>>

/** An upload in chunks, from before it has room. */
interface Slot {
  readonly owner: object
  upload?: Upload
  /** Its owner has left: it must not begin. */
  isGone: boolean
}

/** Names that are tried; two equal ones in the same millisecond have a chance of 1 in 2^32. */
const TRIES = 8
/** Milliseconds. An upload without a chunk ends after seconds, so older parts are left from a process that was killed. */
const PART_AGE = 3_600_000

/** Files from clients, in one folder, under names that the server makes. */
export class Uploads {
  readonly #options: UploadsOptions
  readonly #limiter: OwnerLimiter
  readonly #slots = new Set<Slot>()
  readonly #memory: Memory
  #store: FileStore | undefined
  /** Bytes that a client may send beyond those received. */
  readonly window: number

  constructor(options: UploadsOptions) {
    this.#options = options
    this.window = options.window ?? 4_194_304
    this.#limiter = new OwnerLimiter(options.total ?? 64, options.perClient ?? 2, 'uploads')
    this.#memory = { bytes: 0, max: options.memory ?? 67_108_864 }
  }

  /** Absolute and without links, once open. */
  get folder(): string {
    return this.#store?.path ?? ''
  }

  /** @throws Error `ERR_OPTION`: what the operator asks for cannot be. */
  async open(): Promise<void> {
    const { folder, url, types, maxFiles, quota, now = Date.now } = this.#options
    if (!/^(?:\/[\w~-][\w.~-]*)+$/.test(url))
      throw optionError(`--media-upload-url takes a path such as /uploads, received "${url}"`)
    const odd = types.find(type => !/^[a-z0-9]{1,8}$/.test(type))
    if (odd !== undefined)
      throw optionError(
        `--media-upload-types takes extensions such as png, in lower case and without a dot, received "${odd}"`,
      )
    this.#store = await openFolder(folder, { maxFiles, quota, now, partAge: PART_AGE, parts: 'prefix' })
    await this.#store.space.count()
  }

  /**
   * Saves a file that is at hand.
   *
   * @throws Refused.
   */
  async save(named: { readonly name: string } | { readonly extension: string }, bytes: Buffer): Promise<Saved> {
    const file = 'name' in named ? checkName(named.name) : { extension: named.extension.toLowerCase() }
    this.#checkType(file.extension)
    this.#checkSize(bytes.length)
    const write = await this.#begin(bytes.length)
    const window = Math.max(this.window, bytes.length)
    const upload = this.#start({ ...partsOf(file), size: bytes.length, window, write, left: () => {} })
    upload.write(bytes)
    return upload.done
  }

  /**
   * Starts an upload in chunks.
   *
   * @param owner - whose it is: it ends with `dropOwner`.
   * @throws Refused.
   */
  async begin(owner: object, announced: Announced): Promise<Upload> {
    const job = 'audio' in announced ? this.#recording(announced.audio) : this.#file(announced)
    const slot: Slot = { owner, isGone: false }
    let leave = () => {}
    const left = () => {
      this.#slots.delete(slot)
      leave()
    }
    try {
      leave = this.#limiter.enter(owner)
      this.#slots.add(slot)
      const write = await this.#begin(job.size ?? WAV_HEADER)
      if (slot.isGone) {
        await write.end(false)
        throw new Refused('lost', 'the client has gone')
      }
      slot.upload = this.#start({ ...job, write, left })
      return slot.upload
    } catch (error) {
      left()
      throw refusedBy(error)
    }
  }

  /** Ends the uploads of a client that has gone; settles when nothing is left of them. */
  dropOwner(owner: object): Promise<void> {
    return this.#end(slot => slot.owner === owner, 'the client has gone')
  }

  /** Ends the uploads of all. */
  close(): Promise<void> {
    return this.#end(() => true, 'the server stops')
  }

  #file({ name: given, size }: { readonly name: string; readonly size: number }): Pick<Job, 'extension' | 'size'> {
    const file = checkName(given)
    this.#checkType(file.extension)
    this.#checkSize(size)
    return { ...partsOf(file), size }
  }

  #recording(sound: AudioFormat): Pick<Job, 'extension' | 'size' | 'sound'> {
    const why = audioFormatProblem(sound)
    if (why !== undefined) throw new Refused('format', why)
    this.#checkType('wav')
    return { extension: 'wav', sound: { rate: sound.rate, channels: sound.channels } }
  }

  #checkType(extension: string): void {
    const { types } = this.#options
    if (!/^[a-z0-9]{1,8}$/.test(extension)) throw new Refused('type', 'an extension has 1 to 8 letters or digits')
    if (!types.includes(extension))
      throw new Refused('type', `files of type ${extension} are not taken, only ${types.join(' ')}`)
  }

  #checkSize(size: number): void {
    const { maxBytes } = this.#options
    if (!isWithin(size, 1, maxBytes)) throw new Refused('size', `a file has 1 to ${maxBytes} bytes`)
  }

  async #end(isMeant: (slot: Slot) => boolean, reason: string): Promise<void> {
    const slots = [...this.#slots].filter(isMeant)
    for (const slot of slots) slot.isGone = true
    await Promise.all(slots.map(({ upload }) => upload?.cancel(new Refused('lost', reason))))
  }

  async #begin(bytes: number): Promise<FileWrite> {
    try {
      return await this.#store!.begin({ bytes })
    } catch (error) {
      throw this.#logged(refusedBy(error))
    }
  }

  #start(job: Own): Upload {
    const { maxBytes, idleMs = 30_000 } = this.#options
    const upload: Upload = new Upload({
      ...job,
      maxBytes: job.sound === undefined ? maxBytes : Math.min(maxBytes, WAV_HEADER + WAV_MAX),
      window: job.window ?? this.window,
      idleMs,
      memory: this.#memory,
      place: () => this.#place(job.write, job.extension),
    })
    upload.done.catch(refused => this.#logged(refused))
    return upload
  }

  async #place(write: FileWrite, extension: string): Promise<Pick<Saved, 'name' | 'path' | 'url'>> {
    const { url, now = Date.now, random = () => randomInt(2 ** 32) } = this.#options
    for (let tries = 0; tries < TRIES; tries++) {
      const name = savedName(extension, now(), random())
      try {
        await write.commit(name, false)
        return { name, path: join(this.folder, name), url: `${url}/${name}` }
      } catch (error) {
        if (!(error instanceof FileError && error.code === 'exists')) throw error
      }
    }
    throw new Error(`${TRIES} names in ${this.folder} exist`)
  }

  /** Errors of the system are for the operator. */
  #logged(refused: Refused): Refused {
    if (refused.cause !== undefined) this.#options.log.error({ err: refused.cause }, 'file of a client cannot be kept')
    return refused
  }
}

function partsOf({ name, extension }: { readonly name?: string; readonly extension: string }) {
  return { extension, ...(name !== undefined && { original: name }) }
}

function isWithin(value: number, min: number, max: number): boolean {
  return Number.isSafeInteger(value) && value >= min && value <= max
}
