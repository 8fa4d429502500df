import type { Awaitable, Client } from 'filtered-websocket'
import { FileError } from 'filtered-websocket/kit'
import { cut } from '../../../protocols/clever-show/message.ts'

/** A file that a client sends or asks for. */
export interface FileNotice {
  /** Relative to the root. */
  readonly filepath: string
  /** Bytes. */
  readonly size: number
  /** `in`: from the client. */
  readonly direction: 'in' | 'out'
  /** It is there, or has been sent. */
  readonly done: boolean
}

/** Hears of a file before, when it refuses it by throwing, and after. */
export type FileHandler = (client: Client, file: FileNotice) => Awaitable<void>

/** Whether files may pass, and who hears of them. */
export class Permission {
  readonly handlers: FileHandler[] = []
  readonly #onError: (error: unknown, client: Client) => void

  /** @param onError - hears of what fails when a file is there. */
  constructor(onError: (error: unknown, client: Client) => void) {
    this.#onError = onError
  }

  /** @throws FileError `refused`. */
  async ask(client: Client, file: Omit<FileNotice, 'done'>): Promise<void> {
    try {
      for (const handler of this.handlers) await handler(client, { ...file, done: false })
    } catch (error) {
      const { syscall, message } = Object(error) as { syscall?: unknown; message?: unknown }
      const isTold = syscall === undefined && typeof message === 'string'
      throw new FileError('refused', isTold ? cut(message) : 'the file is refused')
    }
  }

  async tell(client: Client, file: Omit<FileNotice, 'done'>): Promise<void> {
    try {
      for (const handler of this.handlers) await handler(client, { ...file, done: true })
    } catch (error) {
      this.#onError(error, client)
    }
  }
}
