import type { Client } from 'filtered-websocket'
import { BoundedMap, FileError, SerialQueues, type StoredFile } from 'filtered-websocket/kit'
import { isCount, MAX_PART } from '../../../protocols/clever-show/frame.ts'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import type { Kwargs, Response } from '../wire/message.ts'
import type { Permission } from './permission.ts'
import { quotaOwnerOf } from './quota-owner.ts'
import { drainTimeout } from './timeouts.ts'
import type { Store } from './writing.ts'

/** Whole files that may be in memory at a time, of the largest that are served so. */
const WHOLES = 8
/** Files of a client that it was allowed to have in parts. */
const REMEMBERED = 64

/** What an answer has beside its name and id. */
export type Answer = Pick<Response, 'value' | 'content' | 'part'>

export interface ServeOptions {
  readonly store: Store
  readonly permission: Permission
  /** Bytes of a file that is sent in one frame. */
  readonly maxWhole: number
}

/** Answers requests for files, those of a client one after the other, as far as it takes them. */
export class Serving {
  readonly #options: ServeOptions
  readonly #queues = new SerialQueues<Client>()
  readonly #allowed = new WeakMap<Client, BoundedMap<string, true>>()
  #bytes = 0

  constructor(options: ServeOptions) {
    this.#options = options
  }

  /**
   * A file, or the part of it that is asked for.
   *
   * @param send - is called once, in its turn.
   * @throws FileError; what the system says.
   */
  serve(client: Client, kwargs: Kwargs, send: (answer: Answer) => void): Promise<void> {
    return this.#queues
      .of(client)
      .run(() => (kwargs.offset === undefined ? this.#whole(client, kwargs, send) : this.#part(client, kwargs, send)))
  }

  /** The hash of a whole file, in hexadecimal. @throws FileError; what the system says. */
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

  async #whole(client: Client, { filepath }: Kwargs, send: (answer: Answer) => void): Promise<void> {
    const { store, permission, maxWhole } = this.#options
    const file = await store.files.file(filepath)
    const { size } = file
    let held = 0
    try {
      if (size > maxWhole)
        throw new FileError(
          'too-large',
          `a file of more than ${maxWhole} bytes is sent in parts only, this has ${size}`,
        )
      await permission.ask(client, { filepath: filepath as string, size, direction: 'out' })
      if (this.#bytes + size > WHOLES * maxWhole)
        throw new FileError('busy', 'many files are being sent, try again later')
      held = size
      this.#bytes += held
      const leave = store.transfers.enter(quotaOwnerOf(client))
      try {
        const content = await file.read(0, size)
        await file.checkUnchanged()
        send({ value: content, content })
        await this.#taken(client, size)
      } finally {
        leave()
      }
    } finally {
      this.#bytes -= held
      await file.close()
    }
    await permission.tell(client, { filepath: filepath as string, size, direction: 'out' })
  }

  async #part(
    client: Client,
    { filepath, offset, length, version }: Kwargs,
    send: (answer: Answer) => void,
  ): Promise<void> {
    const { files } = this.#options.store
    checkCounts({ offset, length })
    const file = await files.file(filepath)
    const from = offset as number
    try {
      checkVersion(file, version)
      if (from > file.size) throw new FileError('offset', `the file has ${file.size} bytes, received offset ${from}`)
      await this.#allow(client, filepath as string, file)
      await this.#taken(client, MAX_PART)
      const content = await file.read(from, Math.min(length as number, MAX_PART))
      await file.checkUnchanged()
      send({ value: content, content, part: { offset: from, size: file.size, version: file.version } })
      if (from + content.length === file.size && (content.length > 0 || from === 0))
        await this.#tell(client, filepath as string, file)
    } finally {
      await file.close()
    }
  }

  /** Asked once for a file, unless many others are asked for meanwhile. */
  async #allow(client: Client, filepath: string, { size, version }: StoredFile): Promise<void> {
    const known = this.#allowed.get(client) ?? new BoundedMap(REMEMBERED)
    this.#allowed.set(client, known)
    if (known.has(version + filepath)) return
    await this.#options.permission.ask(client, { filepath, size, direction: 'out' })
    known.set(version + filepath, true)
  }

  #tell(client: Client, filepath: string, { size }: StoredFile): Promise<void> {
    return this.#options.permission.tell(client, { filepath, size, direction: 'out' })
  }

  /** Waits until it has taken what was sent. Who does not in a time that is long for so many bytes is disconnected. */
  async #taken(client: Client, size: number): Promise<void> {
    const { idleTimeout } = this.#options.store
    const deadline = setTimeout(() => client.disconnect(1013, 'too slow'), drainTimeout(idleTimeout, size))
    try {
      await client.drained()
    } finally {
      clearTimeout(deadline)
    }
  }
}

function checkCounts(counts: Kwargs): void {
  for (const [name, value] of Object.entries(counts)) {
    if (!isCount(value)) throw new FileError('offset', `${name} is a number of bytes, received ${shown(value)}`)
  }
}

function checkVersion(file: StoredFile, version: unknown): void {
  if ((version ?? undefined) !== undefined && version !== file.version)
    throw new FileError('changed', 'the file has changed meanwhile')
}
