import { type Answer, type Line, Upload, type Uploadable, type Uploaded, type UploadOptions } from './upload.ts'

/** Numbers have at most 8 digits: they travel as the metadata of chunks. */
const NUMBERS = 100_000_000

/** The uploads of one connection that are under way. */
export class Uploads {
  readonly #line: Line
  readonly #running = new Map<number, Upload>()
  #last = 0

  constructor(line: Line) {
    this.#line = line
  }

  /** Settles when it is saved; rejects with an `UploadError`, or the reason of the signal. */
  async run(file: Uploadable, options: UploadOptions): Promise<Uploaded> {
    do this.#last = (this.#last + 1) % NUMBERS
    while (this.#running.has(this.#last))
    const id = this.#last
    const upload = new Upload(id, file, this.#line, options)
    this.#running.set(id, upload)
    try {
      return await upload.run()
    } finally {
      this.#running.delete(id)
    }
  }

  /** What the server says of uploads; what is of none that is under way came too late. */
  hear(message: unknown): void {
    if (typeof message !== 'object' || message === null) return
    const { ready, progress, done, refused } = message as Record<string, unknown>
    this.#running.get(Number(ready ?? progress ?? done ?? refused))?.hear(message as Answer)
  }

  /** The connection is gone. */
  lose(code: number): void {
    for (const upload of this.#running.values()) upload.lose(`the connection was lost (${code})`)
  }
}

/** Refuses what has no name or no bytes before anything is sent. */
export function checkUploadable(file: Uploadable): void {
  const data = 'data' in file ? file.data : file
  const isData = data instanceof Blob || data instanceof ArrayBuffer || data instanceof Uint8Array
  if (typeof file.name !== 'string' || !isData)
    throw new TypeError('upload() takes a File, or { name, data } with data as a Blob, an ArrayBuffer or a Uint8Array')
}
