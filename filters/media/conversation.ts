import { BoundedMap } from 'filtered-websocket/kit'
import { chunkIdOf, commandOf, idOf } from './command.ts'
import { Refused, refusedBy } from './refused.ts'
import type { Saved } from './saved.ts'
import type { Upload } from './upload.ts'
import type { Announced, Uploads } from './uploads.ts'

/** What a client is told of its uploads: JSON in messages of type 6. */
export type Reply =
  | { readonly ready: number; readonly window: number }
  | { readonly progress: number; readonly received: number }
  | { readonly done: number; readonly name: string; readonly url: string; readonly size: number }
  | { readonly refused: number | null; readonly reason: string; readonly code: Refused['code'] }

export interface ConversationOptions {
  /** `undefined`: they are off. */
  readonly uploads: Uploads | undefined
  /** MUST NOT throw. */
  readonly reply: (json: Reply) => void
  /** A file is there, and its client has been told or has gone; MUST NOT throw. */
  readonly saved: (saved: Saved) => void
}

interface UnderWay {
  readonly upload: Upload
  /** Bytes that its client knows to be received. */
  told: number
}

/** Numbers of uploads that are over, of which chunks may still be on the way. */
const MAX_ENDED = 100

/**
 * What is said about uploads with one client: messages of type 6 and 7 of the envelope, as they come.
 *
 * Where a promise is answered, MUST NOT be called with the next message before that has settled. A message handler that
 * returns it makes the core do so: it stops reading from the client, which is how more than can be written is kept out of
 * memory. What completes a file settles when that is there, or refused. No promise rejects.
 */
export class Conversation {
  readonly #options: ConversationOptions
  readonly #underWay = new Map<number, UnderWay>()
  readonly #ended = new BoundedMap<number, true>(MAX_ENDED)
  #isOver = false

  constructor(options: ConversationOptions) {
    this.#options = options
  }

  /** A message of type 6, parsed. */
  control(json: unknown): Promise<void> | undefined {
    const { uploads } = this.#options
    const id = idOf(json)
    try {
      if (uploads === undefined) throw off()
      const command = commandOf(json)
      if (command.verb === 'begin') return this.#begin(uploads, command.id, command.announced)
      const { upload } = this.#underWay.get(command.id) ?? {}
      if (upload === undefined) this.#unknown(command.id)
      else if (command.verb === 'end') return settled(upload.finish())
      else return this.#cancel(command.id, upload)
    } catch (error) {
      this.#refuse(id, refusedBy(error))
    }
    return undefined
  }

  /** A message of type 7. */
  chunk(metadata: string, bytes: Buffer): Promise<void> | undefined {
    const id = chunkIdOf(metadata)
    if (id === undefined) {
      this.#refuse(undefined, new Refused('format', 'a chunk has the number of its upload as its metadata'))
      return undefined
    }
    const underWay = this.#underWay.get(id)
    if (underWay === undefined) {
      this.#unknown(id)
      return undefined
    }
    const { upload } = underWay
    upload.write(bytes).then(
      ({ received }) => this.#progress(id, underWay, received),
      // `done` tells.
      () => {},
    )
    if (upload.isComplete) return settled(upload.done)
    return upload.isCrowded ? upload.drained() : undefined
  }

  /** A message of the client was lost: what is under way has a hole. */
  lose(): void {
    for (const id of this.#underWay.keys())
      this.#refuse(id, new Refused('lost', 'a message of this client was lost on its way, perhaps to a rate limit'))
  }

  /** The client has gone: nothing stays of what is under way. Settles when that is so. */
  async end(): Promise<void> {
    this.#isOver = true
    await this.#options.uploads?.dropOwner(this)
  }

  async #begin(uploads: Uploads, id: number, announced: Announced): Promise<void> {
    try {
      if (this.#underWay.has(id)) throw new Refused('format', `upload ${id} has begun already`)
      const upload = await uploads.begin(this, announced)
      this.#ended.delete(id)
      this.#underWay.set(id, { upload, told: 0 })
      this.#reply({ ready: id, window: uploads.window })
      upload.done.then(
        saved => this.#done(id, saved),
        refused => this.#over(id, refused),
      )
    } catch (error) {
      this.#refuse(id, refusedBy(error))
    }
  }

  /** Whoever cancels need not be told. It may be too late. */
  async #cancel(id: number, upload: Upload): Promise<void> {
    this.#underWay.delete(id)
    this.#ended.set(id, true)
    await upload.cancel()
    await upload.done.catch(() => {})
  }

  #done(id: number, saved: Saved): void {
    this.#underWay.delete(id)
    this.#ended.set(id, true)
    const { name, url, size } = saved
    this.#reply({ done: id, name, url, size })
    this.#options.saved(saved)
  }

  #over(id: number, refused: Refused): void {
    if (this.#underWay.delete(id)) this.#refuse(id, refused)
  }

  #progress(id: number, underWay: UnderWay, received: number): void {
    const { uploads } = this.#options
    if (received - underWay.told < uploads!.window / 4) return
    underWay.told = received
    this.#reply({ progress: id, received })
  }

  /** Chunks that were on the way when it ended are no mistake, and another one is told once. */
  #unknown(id: number): void {
    if (this.#ended.has(id)) return
    this.#refuse(id, this.#options.uploads === undefined ? off() : new Refused('lost', `upload ${id} is not under way`))
  }

  /** An upload that is under way ends with it. */
  #refuse(id: number | undefined, refused: Refused): void {
    const underWay = id === undefined ? undefined : this.#underWay.get(id)
    if (underWay !== undefined) void underWay.upload.cancel(refused)
    else {
      if (id !== undefined) this.#ended.set(id, true)
      this.#reply({ refused: id ?? null, reason: refused.reason, code: refused.code })
    }
  }

  #reply(json: Reply): void {
    if (!this.#isOver) this.#options.reply(json)
  }
}

async function settled(done: Promise<Saved>): Promise<void> {
  await done.catch(() => {})
}

function off(): Refused {
  return new Refused('off', 'this server takes no uploads')
}
