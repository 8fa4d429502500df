import type { Client } from 'filtered-websocket'
import { BoundedMap, FileError, SerialQueues, type StoredFile } from 'filtered-websocket/kit'
import { isCount, MAX_PART } from '../../../protocols/clever-show/frame.ts'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import type { Kwargs, Response } from '../wire/message.ts'
import type { FileHandlers, FileNotice } from './file-handlers.ts'
import { checkFrame, drainTimeout, ownerOf, type Store } from './store.ts'

/** Bytes of files in single frames that are in memory at a time, as a multiple of `maxWhole`. */
const MAX_FRAMES = 8
/** Files per client whose download in parts was allowed. */
const MAX_ALLOWED = 64

/** A response without its name and id. */
export type Answer = Pick<Response, 'value' | 'content' | 'part'>

type Notice = Omit<FileNotice, 'done'>
type Send = (answer: Answer) => void

/** Answers requests for files. Those of a client run one after the other, at the speed at which it receives them. */
export class Downloads {
  readonly #store: Store
  readonly #handlers: FileHandlers
  readonly #queues = new SerialQueues<Client>()
  readonly #allowed = new WeakMap<Client, BoundedMap<string, true>>()
  /** Bytes of files in single frames that are in memory. */
  #bytes = 0

  constructor(store: Store, handlers: FileHandlers) {
    this.#store = store
    this.#handlers = handlers
  }

  /**
   * Sends a file, or with `offset` a part of it.
   *
   * @param send - called once.
   * @throws (rejects) FileError; LimitError; errors of the system
   */
  start(client: Client, kwargs: Kwargs, send: Send): Promise<void> {
    const filepath = kwargs.filepath as string
    const answer = async (file: StoredFile) => {
      const notice = { filepath, size: file.size, direction: 'out' } as const
      if (kwargs.offset === undefined) await this.#sendFrame(client, file, notice, send)
      else if (!(await this.#sendPart(client, file, notice, kwargs, send))) return
      await this.#handlers.notify(client, notice)
    }
    return this.#queues.run(client, () => this.#store.files.withFile(filepath, answer))
  }

  /** The hash of a file, in hexadecimal. @throws (rejects) FileError; LimitError; errors of the system */
  hash(client: Client, { filepath, version }: Kwargs): Promise<{ readonly sha256: string }> {
    return this.#store.files.withFile(filepath, async file => {
      checkVersion(file, version)
      return { sha256: await this.#store.hashes.of(file, client.signal) }
    })
  }

  async #sendFrame(client: Client, file: StoredFile, notice: Notice, send: Send): Promise<void> {
    const { maxWhole, transfers } = this.#store
    const { size } = file
    checkFrame(this.#store, size)
    await this.#handlers.check(client, notice)
    if (this.#bytes + size > MAX_FRAMES * maxWhole)
      throw new FileError('busy', 'many files are being sent, try again later')
    const leave = transfers.enter(ownerOf(client))
    this.#bytes += size
    try {
      const content = await file.readUnchanged(0, size)
      send({ value: content, content })
      await this.#drained(client, size)
    } finally {
      this.#bytes -= size
      leave()
    }
  }

  /** Returns whether it was the last part. */
  async #sendPart(client: Client, file: StoredFile, notice: Notice, kwargs: Kwargs, send: Send): Promise<boolean> {
    const { size, version } = file
    const [offset, length] = [countOf(kwargs, 'offset'), countOf(kwargs, 'length')]
    checkVersion(file, kwargs.version)
    if (offset > size) throw new FileError('offset', `the file has ${size} bytes, received offset ${offset}`)
    const allowed = this.#allowed.get(client) ?? new BoundedMap(MAX_ALLOWED)
    this.#allowed.set(client, allowed)
    if (!allowed.has(version + notice.filepath)) {
      await this.#handlers.check(client, notice)
      allowed.set(version + notice.filepath, true)
    }
    await this.#drained(client, MAX_PART)
    const content = await file.readUnchanged(offset, Math.min(length, MAX_PART))
    send({ value: content, content, part: { offset, size, version } })
    return offset + content.length === size && (content.length > 0 || offset === 0)
  }

  /** Waits until the client has received what was sent. A client that takes too long for `size` bytes is disconnected. */
  async #drained(client: Client, size: number): Promise<void> {
    const deadline = setTimeout(() => client.disconnect(1013, 'too slow'), drainTimeout(this.#store, size))
    try {
      await client.drained()
    } finally {
      clearTimeout(deadline)
    }
  }
}

/** @throws FileError `offset` */
export function countOf(kwargs: Kwargs, name: 'offset' | 'length' | 'size'): number {
  const value = kwargs[name]
  if (isCount(value)) return value
  throw new FileError('offset', `${name} is a number of bytes, received ${shown(value)}`)
}

/** @throws FileError `changed` */
function checkVersion(file: StoredFile, version: unknown): void {
  if ((version ?? undefined) !== undefined && version !== file.version)
    throw new FileError('changed', 'the file has changed meanwhile')
}
