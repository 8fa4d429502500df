import { BoundedMap } from '../bounded-map.ts'
import { SerialQueues } from '../serial-queue.ts'
import { Watchdog } from '../watchdog.ts'
import { FileError, fileErrorOf } from './file-error.ts'
import type { IncomingFile, IncomingFiles } from './incoming.ts'
import { namesIn } from './path.ts'

/** Bytes that must arrive within the idle timeout, so that empty parts do not keep an upload open without limit. */
const MIN_PROGRESS = 16_384
/** Completed uploads whose last answer may have been lost. */
const MAX_COMPLETED = 256
/** Errors after which the received bytes are useless. */
const FINAL_ERRORS = ['corrupt', 'full']

/** A file that arrives in parts. */
export interface Upload {
  /** Name of its part, the same for the same sender and file; see `partName`. */
  readonly part: string
  readonly filepath: string
  /** Bytes of the complete file. */
  readonly size: number
  /** Whether its part is kept when its sender disconnects. Default: true. */
  readonly isResumable?: boolean
  /** Owner of the shares of concurrent files and of free bytes that it uses. Default: no share. */
  readonly owner?: unknown
  /** As in IncomingPlan. */
  readonly writer?: object
}

/** A connection on which parts arrive. */
export interface UploadSender {
  /** Aborted when the connection has ended. Default: never. */
  readonly signal?: AbortSignal
}

export interface UploadedPart {
  /** Bytes of the file before the part. */
  readonly offset: number
  readonly bytes: Buffer
  /** SHA-256 of the complete file in hexadecimal, with the last part. */
  readonly sha256?: string | undefined
}

export interface UploadHooks {
  /** Called when an upload begins or continues; refuses it by rejecting. */
  readonly allow?: () => Promise<void>
  /** Called when the file is saved, once unless it rejects: then the last part may be sent again. */
  readonly saved?: () => Promise<void>
}

interface OpenUpload {
  readonly upload: Upload
  readonly file: IncomingFile
  readonly watchdog: Watchdog
  readonly onAbort: () => void
  sender: UploadSender
}

/**
 * Uploads in parts, which continue after a lost connection and after a restart. One that makes no progress is closed, and its
 * part is kept until it is too old.
 *
 * @example
 * const uploads = new FileUploads(incoming, 60_000)
 * const upload = { part: partName('key', [key, filepath, size]), filepath, size }
 * const offset = await uploads.find(upload, client)
 * await uploads.append(upload, client, { offset, bytes, sha256 })
 */
export class FileUploads {
  readonly #files: IncomingFiles
  readonly #idleTimeout: number
  /** By name of the part, as the others. */
  readonly #queues = new SerialQueues<string>()
  readonly #open = new Map<string, OpenUpload>()
  /** Hashes. */
  readonly #completed = new BoundedMap<string, string>(MAX_COMPLETED)

  /** @param idleTimeout - milliseconds in which an upload must make progress. */
  constructor(files: IncomingFiles, idleTimeout: number) {
    this.#files = files
    this.#idleTimeout = idleTimeout
  }

  /**
   * Bytes that are written of an upload, which moves to this connection: later parts of the earlier one are refused.
   *
   * @throws (rejects) FileError `path`; errors of the system
   */
  async find(upload: Upload, sender: UploadSender): Promise<number> {
    const { part, filepath, size } = upload
    namesIn(filepath)
    return this.#queues.run(part, async () => {
      if (await this.#isCompleted(upload)) return size
      const open = this.#open.get(part)
      if (open === undefined) return this.#files.store.partSize(part)
      this.#follow(open, sender)
      return open.file.size
    })
  }

  /**
   * Writes the next part, and saves the file after the last one.
   *
   * @returns bytes that are written.
   * @throws (rejects) FileError `offset`, `too-large`, `corrupt`, `busy`, `gone`, and as `begin` of IncomingFiles; errors of the
   * hooks and of the system
   */
  append(upload: Upload, sender: UploadSender, received: UploadedPart, hooks: UploadHooks = {}): Promise<number> {
    const { part, size } = upload
    const { offset, bytes, sha256 = '' } = received
    return this.#queues.run(part, async () => {
      if (offset === size && this.#completed.get(part) === sha256 && (await this.#isCompleted(upload))) return size
      this.#completed.delete(part)
      const open = this.#open.get(part) ?? (await this.#begin(upload, sender, hooks))
      if (open.sender !== sender) throw new FileError('busy', 'another connection continues this upload')
      await this.#write(open, received)
      if (offset + bytes.length === size) {
        await hooks.saved?.()
        this.#completed.set(part, sha256)
      }
      return offset + bytes.length
    })
  }

  /** Ends all uploads and keeps their parts. */
  async close(): Promise<void> {
    await Promise.all([...this.#open.values()].map(open => this.#close(open)))
  }

  async #begin(upload: Upload, sender: UploadSender, hooks: UploadHooks): Promise<OpenUpload> {
    if (sender.signal?.aborted) throw new FileError('gone', 'the connection has ended')
    await hooks.allow?.()
    const file = await this.#files.begin(upload)
    if (file.size > upload.size) {
      await file.end(false)
      throw new FileError('corrupt', 'the saved part is larger than the file; the next upload begins again')
    }
    const open: OpenUpload = {
      upload,
      file,
      sender,
      watchdog: new Watchdog(MIN_PROGRESS, () => this.#close(open)),
      onAbort: () => this.#disconnected(open),
    }
    this.#open.set(upload.part, open)
    open.watchdog.start(this.#idleTimeout)
    this.#follow(open, sender)
    return open
  }

  async #write(open: OpenUpload, { offset, bytes, sha256 }: UploadedPart): Promise<void> {
    const { file, upload, watchdog } = open
    const problem = problemOf(file.size, upload.size, offset, offset + bytes.length)
    if (problem !== undefined) {
      if (file.size === 0) await this.#end(open, false)
      throw problem
    }
    watchdog.add(bytes.length)
    try {
      await file.append(bytes)
      if (file.size < upload.size) return
      if (sha256 === undefined) throw new FileError('corrupt', 'the last part has no sha256 of the file')
      file.filled()
      const found = await file.sha256()
      if (found !== sha256) throw new FileError('corrupt', `the file has the sha256 ${found}, not ${sha256}`)
      await file.commit()
      await this.#end(open, true)
    } catch (error) {
      await this.#end(open, !FINAL_ERRORS.includes(fileErrorOf(error).code))
      throw error
    }
  }

  /** Whether the file of a completed upload still exists unchanged. */
  async #isCompleted({ part, filepath }: Upload): Promise<boolean> {
    const sha256 = this.#completed.get(part)
    if (sha256 === undefined) return false
    const isUnchanged = await this.#files.has(filepath, sha256)
    if (!isUnchanged) this.#completed.delete(part)
    return isUnchanged
  }

  /** Parts of another connection are refused from now on. */
  #follow(open: OpenUpload, sender: UploadSender): void {
    open.sender.signal?.removeEventListener('abort', open.onAbort)
    open.sender = sender
    if (sender.signal?.aborted) open.onAbort()
    else sender.signal?.addEventListener('abort', open.onAbort, { once: true })
  }

  /** Ends an upload, unless it has moved to another connection meanwhile. */
  #disconnected(open: OpenUpload): void {
    const { part, isResumable = true } = open.upload
    void this.#queues.run(part, async () => {
      if (open.sender.signal?.aborted) await this.#end(open, isResumable)
    })
  }

  #close(open: OpenUpload): Promise<void> {
    return this.#queues.run(open.upload.part, () => this.#end(open, true))
  }

  async #end(open: OpenUpload, isKept: boolean): Promise<void> {
    const { upload, file, watchdog, sender, onAbort } = open
    if (this.#open.get(upload.part) !== open) return
    this.#open.delete(upload.part)
    watchdog.stop()
    sender.signal?.removeEventListener('abort', onAbort)
    await file.end(isKept)
  }
}

function problemOf(written: number, size: number, offset: number, end: number): FileError | undefined {
  if (offset !== written) return new FileError('offset', `the next part begins at ${written}, received ${offset}`)
  if (end > size) return new FileError('too-large', `the file has ${size} bytes, received ${end}`)
  return undefined
}
