import { CHUNK, UPLOAD } from '../../protocols/nanollm/kinds.ts'
import { MAX_UPLOAD_ID, type Uploaded, type UploadReply } from '../../protocols/nanollm/upload.ts'
import type { Connection } from '../connection.ts'
import { Limiter } from './limiter.ts'
import { Upload, type Uploadable, type UploadChannel, type UploadOptions } from './upload.ts'
import { waitForOpen } from './wait-for-open.ts'

/** The server's default limit per client. */
const MAX_PARALLEL = 2

/** The uploads of one connection. */
export class Uploads {
  readonly #connection: Connection
  readonly #channel: UploadChannel
  readonly #active = new Map<number, Upload>()
  readonly #limiter = new Limiter(MAX_PARALLEL)
  #lastId = 0

  /** @param write - sends a message now; `false`: the connection is not open. */
  constructor(connection: Connection, write: (type: number, payload: Uint8Array, metadata: string) => boolean) {
    this.#connection = connection
    this.#channel = {
      get buffered() {
        return connection.bufferedAmount
      },
      command: message => write(UPLOAD, new TextEncoder().encode(JSON.stringify(message)), ''),
      chunk: (id, bytes) => write(CHUNK, bytes, String(id)),
    }
    connection.on('close', ({ code }) => this.handleClose(code))
  }

  /** Returns the saved file. @throws (rejects) UploadError; the signal's reason; TypeError for an invalid file. */
  async run(file: Uploadable, options: UploadOptions): Promise<Uploaded> {
    check(file)
    await this.#limiter.enter(options.signal)
    const id = this.#nextId()
    try {
      await waitForOpen(this.#connection, options.signal)
      const upload = new Upload(id, file, this.#channel, options)
      this.#active.set(id, upload)
      return await upload.run()
    } finally {
      this.#active.delete(id)
      this.#limiter.leave()
    }
  }

  /** Handles a message of type 6. Replies for uploads that have ended are ignored. */
  handleReply(message: unknown): void {
    const { ready, progress, done, refused } = Object(message) as Record<string, unknown>
    this.#active.get((ready ?? progress ?? done ?? refused) as number)?.handleReply(message as UploadReply)
  }

  /** Ends all uploads when the connection is closed. */
  handleClose(code: number): void {
    for (const upload of this.#active.values()) upload.fail(`the connection was lost (${code})`)
  }

  #nextId(): number {
    do this.#lastId = (this.#lastId + 1) % (MAX_UPLOAD_ID + 1)
    while (this.#active.has(this.#lastId))
    return this.#lastId
  }
}

function check(file: Uploadable): void {
  const data = 'data' in file ? file.data : file
  const isData = data instanceof Blob || data instanceof ArrayBuffer || data instanceof Uint8Array
  if (typeof file.name !== 'string' || !isData)
    throw new TypeError('upload() takes a File, or { name, data } with data as a Blob, an ArrayBuffer or a Uint8Array')
}
