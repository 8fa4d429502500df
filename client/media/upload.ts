import type { Uploaded, UploadReply } from '../../protocols/nanollm/upload.ts'

export type { Uploaded } from '../../protocols/nanollm/upload.ts'

/** Bytes of one message; less if the server's window is small. */
const MAX_CHUNK = 256 * 1024
/** Milliseconds. */
const DEFAULT_TIMEOUT = 60_000

/** Sends the messages of an upload. Methods return `false` if the connection is not open; messages do not wait for one. */
export interface UploadChannel {
  /** Bytes that the connection has not sent yet. */
  readonly buffered: number
  command(message: object): boolean
  chunk(id: number, bytes: Uint8Array): boolean
}

/** A `File`, or bytes with a file name. */
export type Uploadable =
  | (Blob & { readonly name: string })
  | { readonly name: string; readonly data: Blob | ArrayBuffer | Uint8Array }

export interface UploadOptions {
  /** Called with the bytes on the server's disk, for each acknowledgement and at the end. */
  readonly onProgress?: (progress: { readonly received: number; readonly size: number }) => void
  /** Cancels the upload: the server deletes its bytes, and the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** Milliseconds without a reply and without a byte sent after which the upload fails. Default: 60,000. */
  readonly timeout?: number
}

/** A failed upload; the server keeps none of its bytes. The message is one sentence for users. */
export class UploadError extends Error {
  override readonly name = 'UploadError'
  /** `type`, `name`, `size`, `count`, `quota`, `busy`, `content`, `off` or `format` from the server; `lost`: it broke off. */
  readonly code: string

  constructor(code: string, reason: string) {
    super(reason)
    this.code = code
  }

  /** The message. */
  get reason(): string {
    return this.message
  }
}

/** Sends a file, at most the server's window beyond the acknowledged bytes, which bounds the memory on both sides. */
export class Upload {
  readonly #id: number
  readonly #name: string
  readonly #data: Blob | Uint8Array
  readonly #size: number
  readonly #channel: UploadChannel
  readonly #options: UploadOptions
  #sent = 0
  #acknowledged = 0
  #window = 0
  #outcome: { readonly done: Uploaded } | { readonly error: unknown } | undefined
  /** Ends `#waitForReply`. */
  #wake = () => {}

  /** @param id - 0 to 99999999, not in use by another upload of the connection. */
  constructor(id: number, file: Uploadable, channel: UploadChannel, options: UploadOptions) {
    this.#id = id
    this.#name = file.name
    const data = 'data' in file ? file.data : file
    this.#data = data instanceof ArrayBuffer ? new Uint8Array(data) : data
    this.#size = this.#data instanceof Blob ? this.#data.size : this.#data.byteLength
    this.#channel = channel
    this.#options = options
  }

  /** Settles when the upload has ended. */
  async run(): Promise<Uploaded> {
    const { signal } = this.#options
    signal?.throwIfAborted()
    const abort = () => this.#cancel(signal!.reason)
    signal?.addEventListener('abort', abort)
    try {
      this.#check(this.#channel.command({ begin: this.#id, name: this.#name, size: this.#size }))
      while (this.#outcome === undefined) await (this.#canSend() ? this.#sendChunk() : this.#waitForReply())
    } catch (error) {
      this.#cancel(error)
    } finally {
      signal?.removeEventListener('abort', abort)
    }
    if ('error' in this.#outcome!) throw this.#outcome.error
    return this.#outcome!.done
  }

  handleReply(reply: UploadReply): void {
    if (this.#outcome !== undefined) return
    if ('ready' in reply) this.#window = reply.window
    if ('progress' in reply) this.#acknowledge(reply.received)
    if ('refused' in reply) this.#outcome = { error: new UploadError(reply.code, reply.reason) }
    if ('done' in reply) {
      this.#outcome = { done: { name: reply.name, url: reply.url, size: reply.size } }
      if (this.#acknowledged < this.#size) this.#acknowledge(this.#size)
    }
    this.#wake()
  }

  /** Ends the upload of a connection that is closed; the server has deleted its bytes. */
  fail(reason: string): void {
    this.#outcome ??= { error: new UploadError('lost', reason) }
    this.#wake()
  }

  /** The server may delay an acknowledgement until it has this many bytes. */
  get #quarter(): number {
    return Math.ceil(this.#window / 4)
  }

  get #nextLength(): number {
    return Math.min(MAX_CHUNK, this.#quarter, this.#size - this.#sent)
  }

  #canSend(): boolean {
    const unacknowledged = this.#sent - this.#acknowledged
    // Chunks in the socket's buffer delay other messages; an acknowledgement will come.
    if (unacknowledged >= this.#quarter && this.#channel.buffered >= this.#quarter) return false
    return this.#nextLength > 0 && unacknowledged + this.#nextLength <= this.#window
  }

  async #sendChunk(): Promise<void> {
    const [start, end] = [this.#sent, this.#sent + this.#nextLength]
    const bytes =
      this.#data instanceof Blob
        ? new Uint8Array(await this.#data.slice(start, end).arrayBuffer())
        : this.#data.subarray(start, end)
    if (this.#outcome !== undefined) return
    this.#check(this.#channel.chunk(this.#id, bytes))
    this.#sent = end
  }

  /** On a slow connection the next acknowledgement may take long, so bytes that were sent count as progress too. */
  async #waitForReply(): Promise<void> {
    const { timeout = DEFAULT_TIMEOUT } = this.#options
    const { buffered } = this.#channel
    let timer: ReturnType<typeof setTimeout> | undefined
    const inTime = await new Promise<boolean>(resolve => {
      this.#wake = () => resolve(true)
      timer = setTimeout(() => resolve(false), timeout)
    })
    clearTimeout(timer)
    if (!inTime && this.#channel.buffered === buffered)
      throw new UploadError('lost', `the server did not reply to the upload within ${timeout} ms`)
  }

  #acknowledge(received: number): void {
    this.#acknowledged = received
    const { onProgress } = this.#options
    // An error of the callback MUST NOT end the upload.
    if (onProgress !== undefined) queueMicrotask(() => onProgress({ received, size: this.#size }))
  }

  #cancel(error: unknown): void {
    if (this.#outcome !== undefined) return
    this.#outcome = { error }
    this.#channel.command({ cancel: this.#id })
    this.#wake()
  }

  #check(isSent: boolean): void {
    if (!isSent) throw new UploadError('lost', 'the connection was lost')
  }
}
