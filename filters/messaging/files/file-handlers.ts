import type { Awaitable, Client } from 'filtered-websocket'
import { FileError } from 'filtered-websocket/kit'
import { cut } from '../../../protocols/clever-show/message.ts'

/** A file that a client sends or requests. */
export interface FileNotice {
  /** Relative to the root. */
  readonly filepath: string
  /** Bytes. */
  readonly size: number
  /** `in`: from the client. */
  readonly direction: 'in' | 'out'
  /** It has been saved or sent. */
  readonly done: boolean
}

/** Called before a transfer, where a throw refuses it, and after it. */
export type FileHandler = (client: Client, file: FileNotice) => Awaitable<void>

/** The handlers of files. */
export class FileHandlers {
  readonly #handlers: FileHandler[] = []
  readonly #onError: (error: unknown, client: Client) => void

  /** @param onError - called with errors of handlers after a transfer. */
  constructor(onError: (error: unknown, client: Client) => void) {
    this.#onError = onError
  }

  add(handler: FileHandler): void {
    this.#handlers.push(handler)
  }

  /** @throws (rejects) FileError `refused`: a handler throws. */
  async check(client: Client, file: Omit<FileNotice, 'done'>): Promise<void> {
    try {
      await this.#run(client, { ...file, done: false })
    } catch (error) {
      const { syscall, message } = Object(error) as { syscall?: unknown; message?: unknown }
      // Messages of system errors may contain paths.
      const isPublic = syscall === undefined && typeof message === 'string'
      throw new FileError('refused', isPublic ? cut(message) : 'the file is refused', isPublic ? undefined : error)
    }
  }

  /** Never rejects. */
  async notify(client: Client, file: Omit<FileNotice, 'done'>): Promise<void> {
    await this.#run(client, { ...file, done: true }).catch(error => this.#onError(error, client))
  }

  async #run(client: Client, file: FileNotice): Promise<void> {
    for (const handler of this.#handlers) await handler(client, file)
  }
}
