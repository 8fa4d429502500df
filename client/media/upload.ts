/** Bytes of one message; less where the server's window is small. */
const CHUNK_SIZE = 256 * 1024
/** Milliseconds. */
const PATIENCE = 60_000

/** What an upload needs of a connection. */
export interface Line {
  /** Bytes that wait to go out. */
  readonly buffered: number
  /** `false`: there is no connection, and nothing waits for one. */
  control(message: object): boolean
  chunk(id: number, bytes: Uint8Array): boolean
}

/** A `File` of a browser, or any bytes and the name that they shall be known by. */
export type Uploadable =
  | (Blob & { readonly name: string })
  | { readonly name: string; readonly data: Blob | ArrayBuffer | Uint8Array }

export interface UploadOptions {
  /** Told what the server has written to its disk, in bytes: each time it says so, and at the end. */
  readonly onProgress?: (progress: { readonly received: number; readonly size: number }) => void
  /** Cancels: nothing of it stays on the server, and the promise rejects with the signal's reason. */
  readonly signal?: AbortSignal
  /** Milliseconds that the server may say nothing while nothing goes out either; default 60,000. */
  readonly timeout?: number
}

/** What the server has saved, under a name of its own. */
export interface Uploaded {
  readonly name: string
  /** Path on the server, such as `/uploads/…`. */
  readonly url: string
  /** Bytes. */
  readonly size: number
}

/** Why an upload did not come to its end; nothing of it stays. */
export class UploadError extends Error {
  override readonly name = 'UploadError'
  /** `type`, `name`, `size`, `count`, `quota`, `busy`, `content`, `off`, `format` as the server says; `lost`: no connection. */
  readonly code: string

  constructor(code: string, reason: string) {
    super(reason)
    this.code = code
  }

  /** One sentence for people. */
  get reason(): string {
    return this.message
  }
}

/** What the server says of an upload. */
export type Answer =
  | { readonly ready: number; readonly window: number }
  | { readonly progress: number; readonly received: number }
  | ({ readonly done: number } & Uploaded)
  | { readonly refused: number; readonly reason: string; readonly code: string }

/** A file on its way: never more than the server's window beyond what it acknowledged, so that memory stays flat. */
export class Upload {
  readonly #id: number
  readonly #name: string
  readonly #data: Blob | Uint8Array
  readonly #size: number
  readonly #line: Line
  readonly #options: UploadOptions
  #sent = 0
  #received = 0
  #window = 0
  #outcome: { readonly done: Uploaded } | { readonly error: unknown } | undefined
  /** Ends the wait for news. */
  #wake = () => {}

  /** @param id - 0 to 99999999, and of no other that is under way in this connection. */
  constructor(id: number, file: Uploadable, line: Line, options: UploadOptions) {
    this.#id = id
    this.#name = file.name
    const data = 'data' in file ? file.data : file
    this.#data = data instanceof ArrayBuffer ? new Uint8Array(data) : data
    this.#size = this.#data instanceof Blob ? this.#data.size : this.#data.byteLength
    this.#line = line
    this.#options = options
  }

  /** Settles when it is over. */
  async run(): Promise<Uploaded> {
    const { signal } = this.#options
    signal?.throwIfAborted()
    const abort = () => this.#cancel(signal!.reason)
    signal?.addEventListener('abort', abort)
    try {
      this.#check(this.#line.control({ begin: this.#id, name: this.#name, size: this.#size }))
      while (this.#outcome === undefined) await (this.#mayGo() ? this.#go() : this.#news())
    } catch (error) {
      this.#cancel(error)
    } finally {
      signal?.removeEventListener('abort', abort)
    }
    if ('error' in this.#outcome!) throw this.#outcome.error
    return this.#outcome!.done
  }

  /** The server has spoken of it. */
  hear(answer: Answer): void {
    if (this.#outcome !== undefined) return
    if ('ready' in answer) this.#window = answer.window
    if ('progress' in answer) this.#acknowledge(answer.received)
    if ('refused' in answer) this.#outcome = { error: new UploadError(answer.code, answer.reason) }
    if ('done' in answer) {
      this.#outcome = { done: { name: answer.name, url: answer.url, size: answer.size } }
      if (this.#received < this.#size) this.#acknowledge(this.#size)
    }
    this.#wake()
  }

  /** The connection is gone, and the server has let go of it. */
  lose(reason: string): void {
    this.#outcome ??= { error: new UploadError('lost', reason) }
    this.#wake()
  }

  /** The server may keep to itself that it got less than this. */
  get #quarter(): number {
    return Math.ceil(this.#window / 4)
  }

  get #next(): number {
    return Math.min(CHUNK_SIZE, this.#quarter, this.#size - this.#sent)
  }

  #mayGo(): boolean {
    const open = this.#sent - this.#received
    // Much that waits here already would keep what is said meanwhile waiting too; an acknowledgement will come.
    if (open >= this.#quarter && this.#line.buffered >= this.#quarter) return false
    return this.#next > 0 && open + this.#next <= this.#window
  }

  async #go(): Promise<void> {
    const [start, end] = [this.#sent, this.#sent + this.#next]
    const bytes =
      this.#data instanceof Blob
        ? new Uint8Array(await this.#data.slice(start, end).arrayBuffer())
        : this.#data.subarray(start, end)
    if (this.#outcome !== undefined) return
    this.#check(this.#line.chunk(this.#id, bytes))
    this.#sent = end
  }

  /** Waits until something is heard, but not for ever; on a slow line the next acknowledgement may be far away. */
  async #news(): Promise<void> {
    const { timeout = PATIENCE } = this.#options
    const { buffered } = this.#line
    let timer: ReturnType<typeof setTimeout> | undefined
    const inTime = await new Promise<boolean>(resolve => {
      this.#wake = () => resolve(true)
      timer = setTimeout(() => resolve(false), timeout)
    })
    clearTimeout(timer)
    if (!inTime && this.#line.buffered === buffered)
      throw new UploadError('lost', `the server said nothing of the upload for ${timeout} ms`)
  }

  #acknowledge(received: number): void {
    this.#received = received
    const { onProgress } = this.#options
    // Its errors are its own: an upload does not end by them.
    if (onProgress !== undefined) queueMicrotask(() => onProgress({ received, size: this.#size }))
  }

  #cancel(error: unknown): void {
    if (this.#outcome !== undefined) return
    this.#outcome = { error }
    this.#line.control({ cancel: this.#id })
    this.#wake()
  }

  #check(sent: boolean): void {
    if (!sent) throw new UploadError('lost', 'the connection was lost')
  }
}
