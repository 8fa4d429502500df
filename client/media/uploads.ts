import { CHUNK, UPLOAD } from '../../protocols/nanollm/kinds.ts'
import type { Connection } from '../connection.ts'
import { opened } from './opened.ts'
import { Turns } from './turns.ts'
import { type Answer, type Line, Upload, type Uploadable, type Uploaded, type UploadOptions } from './upload.ts'

/** Numbers have at most 8 digits: they travel as the metadata of chunks. */
const NUMBERS = 100_000_000
/** More than two of one client the server would refuse. */
const AT_ONCE = 2

/** The uploads of one connection. */
export class Uploads {
  readonly #connection: Connection
  readonly #line: Line
  readonly #running = new Map<number, Upload>()
  readonly #turns = new Turns(AT_ONCE)
  #last = 0

  /** @param write - sends a message now; `false`: there is no connection. */
  constructor(connection: Connection, write: (type: number, payload: Uint8Array, metadata: string) => boolean) {
    this.#connection = connection
    this.#line = {
      get buffered() {
        return connection.bufferedAmount
      },
      control: message => write(UPLOAD, new TextEncoder().encode(JSON.stringify(message)), ''),
      chunk: (id, bytes) => write(CHUNK, bytes, String(id)),
    }
    connection.on('close', ({ code }) => this.lose(code))
  }

  /** Settles when it is saved; rejects with an `UploadError`, or the reason of the signal. */
  async run(file: Uploadable, options: UploadOptions): Promise<Uploaded> {
    check(file)
    await this.#turns.begin(options.signal)
    const id = this.#nextNumber()
    try {
      await opened(this.#connection, options.signal)
      const upload = new Upload(id, file, this.#line, options)
      this.#running.set(id, upload)
      return await upload.run()
    } finally {
      this.#running.delete(id)
      this.#turns.end()
    }
  }

  /** What the server says of uploads; what is of none that is under way came too late. */
  hear(message: unknown): void {
    if (typeof message !== 'object' || message === null) return
    const { ready, progress, done, refused } = message as Record<string, unknown>
    this.#running.get((ready ?? progress ?? done ?? refused) as number)?.hear(message as Answer)
  }

  /** The connection is gone. */
  lose(code: number): void {
    for (const upload of this.#running.values()) upload.lose(`the connection was lost (${code})`)
  }

  #nextNumber(): number {
    do this.#last = (this.#last + 1) % NUMBERS
    while (this.#running.has(this.#last))
    return this.#last
  }
}

/** Refuses what has no name or no bytes before anything is sent. */
function check(file: Uploadable): void {
  const data = 'data' in file ? file.data : file
  const isData = data instanceof Blob || data instanceof ArrayBuffer || data instanceof Uint8Array
  if (typeof file.name !== 'string' || !isData)
    throw new TypeError('upload() takes a File, or { name, data } with data as a Blob, an ArrayBuffer or a Uint8Array')
}
