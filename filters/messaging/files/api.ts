import type { Client } from 'filtered-websocket'
import { CallFailed, FileError } from 'filtered-websocket/kit'
import type { Session } from '../rpc/session.ts'
import type { FileHandler, FileHandlers } from './file-handlers.ts'
import type { Store } from './store.ts'
import { failedBy, pullBytes, pullFile, pushFile, type Transfer, type TransferOptions } from './transfers.ts'

/** The part of the API of `host.use('messaging')` about files. Local paths are relative to `--messaging-root`. */
export interface FilesApi {
  /**
   * Sends a file to the path `filepath` of a client. Resolves when the client has saved it; for a client that does not
   * support parts, such as one of clever-show, when it is written to the system. A call after a failed one continues.
   *
   * @throws (rejects) CallFailed; the signal's reason.
   * @example
   * await messaging.sendFile(client, 'paths/a.csv', 'path.csv', { onProgress: ({ bytes, size }) => console.log(bytes / size) })
   */
  sendFile(client: Client, local: string, filepath: string, options?: TransferOptions): Promise<void>
  /** Saves a file of a client, and replaces an existing one. @throws (rejects) as `sendFile` */
  getFile(client: Client, remote: string, local: string, options?: TransferOptions): Promise<void>
  /** Resolves with the content of a file of at most `--messaging-max-whole` bytes. @throws (rejects) as `sendFile` */
  getFile(client: Client, remote: string, local?: undefined, options?: TransferOptions): Promise<Buffer>
  /** Adds a handler that is called before each file that a client sends or requests, where a throw refuses it, and after it. */
  onFile(handler: FileHandler): void
}

/** @param store - `undefined` without `--messaging-root`. */
export function filesApiOf(
  store: Store | undefined,
  handlers: FileHandlers,
  sessions: ReadonlyMap<Client, Session>,
): FilesApi {
  async function start<T>(
    client: Client,
    remote: string,
    options: TransferOptions = {},
    run: (transfer: Transfer) => Promise<T>,
  ): Promise<T> {
    try {
      const session = sessions.get(client)
      if (session === undefined) throw new CallFailed('none', `client ${client.id} is not a messaging client`)
      if (store === undefined) throw new FileError('off', 'file transfers need --messaging-root')
      options.signal?.throwIfAborted()
      return await run({ ...options, session, store, remote })
    } catch (error) {
      options.signal?.throwIfAborted()
      // Errors of the system contain paths, and filters may pass their errors on to peers. One without a code is a bug.
      throw 'code' in Object(error) ? failedBy(error) : error
    }
  }

  return {
    sendFile: (client, local, filepath, options) => start(client, filepath, options, send => pushFile(send, local)),
    getFile: (client: Client, remote: string, local?: string, options?: TransferOptions) =>
      start<unknown>(client, remote, options, get =>
        local === undefined ? pullBytes(get) : pullFile(get, local),
      ) as never,
    onFile: handler => handlers.add(handler),
  }
}
