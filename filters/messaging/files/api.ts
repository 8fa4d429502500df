import type { Client } from 'filtered-websocket'
import { CallFailed, FileError } from 'filtered-websocket/kit'
import type { Session } from '../rpc/session.ts'
import type { FileHandler, FileHandlers } from './file-handlers.ts'
import type { Store } from './store.ts'
import { failedBy, pullBytes, pullFile, pushParts, pushWhole, type TransferOptions } from './transfers.ts'

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
  function transferOf(client: Client, remote: string, options: TransferOptions) {
    const session = sessions.get(client)
    if (session === undefined) throw new CallFailed('none', `client ${client.id} is not a messaging client`)
    if (store === undefined) throw new FileError('off', 'file transfers need --messaging-root')
    options.signal?.throwIfAborted()
    return { ...options, session, store, remote }
  }

  async function sendFile(client: Client, local: string, filepath: string, options: TransferOptions) {
    const transfer = transferOf(client, filepath, options)
    const { session, store } = transfer
    const leave = store.transfers.enter()
    try {
      const file = await store.files.file(local)
      try {
        if (session.supportsParts) await pushParts(transfer, file)
        else if (session.acceptsFrames) await pushWhole(transfer, file)
        else throw new CallFailed('none', `client ${client.id} uses JSON text, which carries no files`)
      } finally {
        await file.close()
      }
    } finally {
      leave()
    }
  }

  async function getFile(client: Client, remote: string, local: string | undefined, options: TransferOptions) {
    const transfer = transferOf(client, remote, options)
    return local === undefined ? pullBytes(transfer) : pullFile(transfer, local)
  }

  /** Hides errors of the system, which contain paths: filters may pass their errors on to peers. */
  const withoutPaths = <T>(transfer: Promise<T>, signal: AbortSignal | undefined): Promise<T> =>
    transfer.catch(error => {
      if (signal?.aborted) throw signal.reason
      // An error without a code is a bug of the caller.
      throw 'code' in Object(error) ? failedBy(error) : error
    })

  return {
    sendFile: (client, local, filepath, options = {}) =>
      withoutPaths(sendFile(client, local, filepath, options), options.signal),
    getFile: ((client: Client, remote: string, local?: string, options: TransferOptions = {}) =>
      withoutPaths(getFile(client, remote, local, options), options.signal)) as FilesApi['getFile'],
    onFile: handler => handlers.add(handler),
  }
}
