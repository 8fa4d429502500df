import type { Client } from 'filtered-websocket'
import { CallFailed, FileError } from 'filtered-websocket/kit'
import { FILE } from '../../../protocols/clever-show/frame.ts'
import type { Session } from '../rpc/session.ts'
import { failedBy } from './failed.ts'
import type { FileHandler, Permission } from './permission.ts'
import { pullBytes, pullFile } from './pull.ts'
import { pushParts, pushWhole, type TransferOptions } from './push.ts'
import type { Store } from './writing.ts'

/** What `host.use('messaging')` gives for files. */
export interface FilesApi {
  /**
   * Sends a file of the root to a client, for which it is `filepath` there. To one that knows parts it settles when the file
   * is in its place, and a call that comes after one that failed goes on; to another when the system has it.
   *
   * @throws (rejects) CallFailed; the signal's reason.
   */
  sendFile(client: Client, local: string, filepath: string, options?: TransferOptions): Promise<void>
  /** Gets a file of a client into the root, over what is there. @throws (rejects) as `sendFile` */
  getFile(client: Client, remote: string, local: string, options?: TransferOptions): Promise<void>
  /** The same without saving it: at most `--messaging-max-whole` bytes. */
  getFile(client: Client, remote: string, local?: undefined, options?: TransferOptions): Promise<Buffer>
  /** Hears of files that clients send and ask for: before, when it refuses one by throwing, and after. */
  onFile(handler: FileHandler): void
}

export interface FilesApiOptions {
  /** `undefined`: there is no root. */
  readonly store: Store | undefined
  readonly permission: Permission
  readonly maxWhole: number
  readonly sessions: ReadonlyMap<Client, Session>
}

export function filesApiOf({ store: given, permission, maxWhole, sessions }: FilesApiOptions): FilesApi {
  function contextOf(client: Client): { readonly session: Session; readonly store: Store } {
    const session = sessions.get(client)
    if (session === undefined) throw new CallFailed('none', `client ${client.id} is no messaging client`)
    if (given === undefined) throw new FileError('off', `there is no --messaging-root, and so no ${FILE}`)
    return { session, store: given }
  }

  async function sendFile(client: Client, local: string, filepath: string, options: TransferOptions = {}) {
    const { session, store } = contextOf(client)
    options.signal?.throwIfAborted()
    const leave = store.transfers.enter()
    try {
      const file = await store.files.file(local)
      const push = { ...options, session, file, filepath, hashes: store.hashes, timeout: store.idleTimeout }
      try {
        if (session.knowsParts) await pushParts(push)
        else if (!session.speaksFrames)
          throw new CallFailed('none', `client ${client.id} speaks texts, and a file has none`)
        else await pushWhole(push, maxWhole)
      } finally {
        await file.close()
      }
    } finally {
      leave()
    }
  }

  async function getFile(client: Client, remote: string, local?: string, options: TransferOptions = {}) {
    const pull = { ...options, ...contextOf(client), remote, maxWhole }
    options.signal?.throwIfAborted()
    return local === undefined ? pullBytes(pull) : pullFile(pull, local)
  }

  /** Errors of the system, which have paths, do not reach filters, which may pass them on to peers. */
  const failing = <T>(work: Promise<T>, signal: AbortSignal | undefined): Promise<T> =>
    work.catch(error => {
      if (signal?.aborted) throw signal.reason
      // An error without a code is a mistake of the caller.
      throw 'code' in Object(error) ? failedBy(error) : error
    })

  return {
    sendFile: (client, local, filepath, options) =>
      failing(sendFile(client, local, filepath, options), options?.signal),
    getFile: ((client: Client, remote: string, local?: string, options?: TransferOptions) =>
      failing(getFile(client, remote, local, options), options?.signal)) as FilesApi['getFile'],
    onFile: handler => void permission.handlers.push(handler),
  }
}
