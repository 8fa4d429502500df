import { BoundedMap } from 'filtered-websocket/kit'
import type { UploadReply } from '../../protocols/nanollm/upload.ts'
import { chunkIdOf, commandIdOf, readCommand } from './command.ts'
import type { SavedFile } from './saved-file.ts'
import type { Upload } from './upload.ts'
import { UploadError, uploadErrorOf } from './upload-error.ts'
import type { UploadSpec, Uploads } from './uploads.ts'

export interface UploadSessionOptions {
  /** `undefined`: uploads are off. */
  readonly uploads: Uploads | undefined
  /** Sends a reply to the client; MUST NOT throw. */
  readonly reply: (reply: UploadReply) => void
  /** Called for each saved file, after the reply; MUST NOT throw. */
  readonly onSaved: (file: SavedFile) => void
}

interface ActiveUpload {
  readonly upload: Upload
  /** Bytes of the last acknowledgement. */
  acknowledged: number
}

/** Ids of ended uploads of which chunks may still arrive. */
const MAX_ENDED = 100

/**
 * The uploads in chunks of one client: handles messages of type 6 and 7 in their order.
 *
 * If a method returns a promise, it MUST settle before the next message is handled. A message handler that returns it
 * pauses the client, which bounds the memory of chunks that wait for the disk. For the message that completes a file, it
 * settles when the file is saved or refused. No promise rejects.
 */
export class UploadSession {
  readonly #options: UploadSessionOptions
  readonly #active = new Map<number, ActiveUpload>()
  readonly #ended = new BoundedMap<number, true>(MAX_ENDED)
  #isClosed = false

  constructor(options: UploadSessionOptions) {
    this.#options = options
  }

  /** Handles a message of type 6, parsed. */
  handleCommand(json: unknown): Promise<void> | undefined {
    const { uploads } = this.#options
    const id = commandIdOf(json)
    try {
      if (uploads === undefined) throw uploadsAreOff()
      const command = readCommand(json)
      if (command.verb === 'begin') return this.#begin(uploads, command.id, command.spec)
      const { upload } = this.#active.get(command.id) ?? {}
      if (upload === undefined) this.#refuseUnknown(command.id)
      else if (command.verb === 'end') return settled(upload.finish())
      else return this.#cancel(command.id, upload)
    } catch (error) {
      this.#refuse(id, uploadErrorOf(error))
    }
    return undefined
  }

  /** Handles a message of type 7. */
  handleChunk(metadata: string, bytes: Buffer): Promise<void> | undefined {
    const id = chunkIdOf(metadata)
    if (id === undefined) {
      this.#refuse(undefined, new UploadError('format', 'a chunk has the number of its upload as metadata'))
      return undefined
    }
    const active = this.#active.get(id)
    if (active === undefined) {
      this.#refuseUnknown(id)
      return undefined
    }
    const { upload } = active
    upload.write(bytes).then(
      ({ received }) => this.#acknowledge(id, active, received),
      // `upload.done` rejects too.
      () => {},
    )
    if (upload.isComplete) return settled(upload.done)
    return upload.shouldPause ? upload.drained() : undefined
  }

  /** Ends all uploads, because a message of the client is missing. */
  handleLoss(): void {
    for (const id of this.#active.keys())
      this.#refuse(id, new UploadError('lost', 'a message of this client was dropped, perhaps by a rate limit'))
  }

  /** Ends all uploads of a client that has disconnected. Settles when their bytes are deleted. */
  async close(): Promise<void> {
    this.#isClosed = true
    await this.#options.uploads?.dropOwner(this)
  }

  async #begin(uploads: Uploads, id: number, spec: UploadSpec): Promise<void> {
    try {
      if (this.#active.has(id)) throw new UploadError('format', `upload ${id} has begun already`)
      const upload = await uploads.begin(this, spec)
      this.#ended.delete(id)
      this.#active.set(id, { upload, acknowledged: 0 })
      this.#reply({ ready: id, window: uploads.window })
      upload.done.then(
        file => this.#finish(id, file),
        error => {
          if (this.#active.delete(id)) this.#refuse(id, error)
        },
      )
    } catch (error) {
      this.#refuse(id, uploadErrorOf(error))
    }
  }

  /** Sends no reply, except if the file was complete before. */
  async #cancel(id: number, upload: Upload): Promise<void> {
    this.#active.delete(id)
    this.#ended.set(id, true)
    await upload.cancel()
    await settled(upload.done)
  }

  #finish(id: number, file: SavedFile): void {
    this.#active.delete(id)
    this.#ended.set(id, true)
    const { name, url, size } = file
    this.#reply({ done: id, name, url, size })
    this.#options.onSaved(file)
  }

  #acknowledge(id: number, active: ActiveUpload, received: number): void {
    const { uploads } = this.#options
    if (received - active.acknowledged < uploads!.window / 4) return
    active.acknowledged = received
    this.#reply({ progress: id, received })
  }

  /** Ignores messages that the client sent before it knew of the end, and refuses an unknown id once. */
  #refuseUnknown(id: number): void {
    if (this.#ended.has(id)) return
    const isOff = this.#options.uploads === undefined
    this.#refuse(id, isOff ? uploadsAreOff() : new UploadError('lost', `upload ${id} does not exist`))
  }

  /** An active upload with this id ends. */
  #refuse(id: number | undefined, error: UploadError): void {
    const active = id === undefined ? undefined : this.#active.get(id)
    if (active !== undefined) void active.upload.cancel(error)
    else {
      if (id !== undefined) this.#ended.set(id, true)
      this.#reply({ refused: id ?? null, reason: error.message, code: error.code })
    }
  }

  #reply(reply: UploadReply): void {
    if (!this.#isClosed) this.#options.reply(reply)
  }
}

async function settled(done: Promise<SavedFile>): Promise<void> {
  await done.catch(() => {})
}

function uploadsAreOff(): UploadError {
  return new UploadError('off', 'this server does not accept uploads')
}
