import type { Client } from 'filtered-websocket'
import { BoundedMap, FileError, SerialQueues, type StoredFile } from 'filtered-websocket/kit'
import { isCount, MAX_PART } from '../../../protocols/clever-show/frame.ts'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import type { Kwargs, Response } from '../wire/message.ts'
import type { FileHandlers } from './file-handlers.ts'
import { quotaOwnerOf } from './quota-owner.ts'
import type { Store } from './store.ts'
import { drainTimeout } from './timeouts.ts'

/** Bytes of whole files in memory at a time, as a multiple of `maxWhole`. */
const WHOLE_FILES = 8
/** Files per client whose download in parts was allowed. */
const MAX_ALLOWED = 64

/** A response without its name and id. */
export type Answer = Pick<Response, 'value' | 'content' | 'part'>

export interface DownloadsOptions {
  readonly store: Store
  readonly handlers: FileHandlers
  /** Bytes of a file that is sent in one frame. */
  readonly maxWhole: number
}

/** Answers requests for files. Those of a client run one after the other, at the speed at which it receives them. */
export class Downloads {
  readonly #options: DownloadsOptions
  readonly #queues = new SerialQueues<Client>()
  readonly #allowed = new WeakMap<Client, BoundedMap<string, true>>()
  /** Bytes of whole files in memory. */
  #bytes = 0

  constructor(options: DownloadsOptions) {
    this.#options = options
  }

  /**
   * Sends a file, or with `offset` a part of it.
   *
   * @param send - called once.
   * @throws (rejects) FileError; LimitError; errors of the system
   */
  start(client: Client, kwargs: Kwargs, send: (answer: Answer) => void): Promise<void> {
    return this.#queues.run(client, () =>
      kwargs.offset === undefined ? this.#whole(client, kwargs, send) : this.#part(client, kwargs, send),
    )
  }

  /** The hash of a whole file, in hexadecimal. @throws (rejects) FileError; LimitError; errors of the system */
  async hash(client: Client, { filepath, version }: Kwargs): Promise<{ readonly sha256: string }> {
    const { files, hashes } = this.#options.store
    const file = await files.file(filepath)
    try {
      checkVersion(file, version)
      return { sha256: await hashes.of(file, client.signal) }
    } finally {
      await file.close()
    }
  }

  async #whole(client: Client, kwargs: Kwargs, send: (answer: Answer) => void): Promise<void> {
    const { store, handlers, maxWhole } = this.#options
    const filepath = kwargs.filepath as string
    const file = await store.files.file(filepath)
    const { size } = file
    const notice = { filepath, size, direction: 'out' } as const
    let reserved = 0
    try {
      if (size > maxWhole)
        throw new FileError('too-large', `a file in one frame has at most ${maxWhole} bytes, this has ${size}`)
      await handlers.check(client, notice)
      if (this.#bytes + size > WHOLE_FILES * maxWhole)
        throw new FileError('busy', 'many files are being sent, try again later')
      reserved = size
      this.#bytes += reserved
      const leave = store.transfers.enter(quotaOwnerOf(client))
      try {
        const content = await file.read(0, size)
        await file.checkUnchanged()
        send({ value: content, content })
        await this.#drained(client, size)
      } finally {
        leave()
      }
    } finally {
      this.#bytes -= reserved
      await file.close()
    }
    await handlers.notify(client, notice)
  }

  async #part(client: Client, kwargs: Kwargs, send: (answer: Answer) => void): Promise<void> {
    const { store, handlers } = this.#options
    const filepath = kwargs.filepath as string
    const [offset, length] = [countOf(kwargs, 'offset'), countOf(kwargs, 'length')]
    const file = await store.files.file(filepath)
    const { size, version } = file
    const notice = { filepath, size, direction: 'out' } as const
    try {
      checkVersion(file, kwargs.version)
      if (offset > size) throw new FileError('offset', `the file has ${size} bytes, received offset ${offset}`)
      const allowed = this.#allowed.get(client) ?? new BoundedMap(MAX_ALLOWED)
      this.#allowed.set(client, allowed)
      if (!allowed.has(version + filepath)) {
        await handlers.check(client, notice)
        allowed.set(version + filepath, true)
      }
      await this.#drained(client, MAX_PART)
      const content = await file.read(offset, Math.min(length, MAX_PART))
      await file.checkUnchanged()
      send({ value: content, content, part: { offset, size, version } })
      const isLast = offset + content.length === size && (content.length > 0 || offset === 0)
      if (isLast) await handlers.notify(client, notice)
    } finally {
      await file.close()
    }
  }

  /** Waits until the client has received what was sent. A client that takes too long for `size` bytes is disconnected. */
  async #drained(client: Client, size: number): Promise<void> {
    const { idleTimeout } = this.#options.store
    const deadline = setTimeout(() => client.disconnect(1013, 'too slow'), drainTimeout(idleTimeout, size))
    try {
      await client.drained()
    } finally {
      clearTimeout(deadline)
    }
  }
}

/** @throws FileError `offset` */
function countOf(kwargs: Kwargs, name: 'offset' | 'length'): number {
  const value = kwargs[name]
  if (isCount(value)) return value
  throw new FileError('offset', `${name} is a number of bytes, received ${shown(value)}`)
}

/** @throws FileError `changed` */
function checkVersion(file: StoredFile, version: unknown): void {
  if ((version ?? undefined) !== undefined && version !== file.version)
    throw new FileError('changed', 'the file has changed meanwhile')
}
