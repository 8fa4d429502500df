import type { Client, Host } from 'filtered-websocket'
import { FileError, FileStore, type RateLimitedLog, SerialQueues } from 'filtered-websocket/kit'
import { isCount } from '../../../protocols/clever-show/frame.ts'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import { isKey } from '../../../protocols/clever-show/part.ts'
import type { options } from '../options.ts'
import type { Handlers } from '../rpc/handlers.ts'
import { Refused } from '../rpc/refused.ts'
import type { Session } from '../rpc/session.ts'
import { ContentStream } from '../wire/content-stream.ts'
import type { Action, Kwargs, Request } from '../wire/message.ts'
import { type FilesApi, filesApiOf } from './api.ts'
import { Downloads } from './downloads.ts'
import { failedBy } from './failed.ts'
import { FileHandlers } from './file-handlers.ts'
import type { IncomingFile } from './incoming-file.ts'
import { quotaOwnerOf } from './quota-owner.ts'
import { abandon, type Content, receive, sizeOf } from './receive.ts'
import { Store } from './store.ts'
import { isRecognizable } from './upload.ts'
import { type UploadKey, Uploads } from './uploads.ts'

/** Milliseconds between two deletions of old parts. */
const CLEANING_INTERVAL = 60_000
/** Bytes of an incoming file that are in memory; also the maximum of a part. */
const MAX_IN_MEMORY = 262_144
/** Shares of one client of the transfers, and of the free quota. */
const TRANSFER_SHARE = 1 / 8
const QUOTA_SHARE = 1 / 4

/** Requests the id of a client. */
type RequestId = (client: Client) => Promise<void>

type Pushed = Action & { readonly content: Content }

/** Files that clients send and request. */
export class Files {
  readonly #store: Store | undefined
  readonly #uploads: Uploads | undefined
  readonly #downloads: Downloads | undefined
  readonly #handlers: FileHandlers
  readonly #limitedLog: RateLimitedLog
  readonly #maxWhole: number
  /** Whole files of a client are written one after the other. */
  readonly #queues = new SerialQueues<Session>()
  /** Clients whose id was requested. */
  readonly #asked = new WeakSet<Client>()

  private constructor(
    store: Store | undefined,
    maxWhole: number,
    limitedLog: RateLimitedLog,
    handlers: Handlers,
    requestId: RequestId,
  ) {
    this.#store = store
    this.#maxWhole = maxWhole
    this.#limitedLog = limitedLog
    this.#handlers = new FileHandlers((err, { id }) =>
      limitedLog.add('error', { err, client: id }, 'a file handler failed'),
    )
    this.#uploads = store && new Uploads(store)
    this.#downloads = store && new Downloads({ store, handlers: this.#handlers, maxWhole })
    this.#addRequests(handlers, requestId)
  }

  /**
   * @param requestId - called for a client without id and identity that asks for the state of an upload.
   * @throws (rejects) Error `ERR_OPTION`: the root cannot be used.
   */
  static async open(
    host: Host<typeof options>,
    limitedLog: RateLimitedLog,
    handlers: Handlers,
    requestId: RequestId,
  ): Promise<Files> {
    const { options: chosen } = host
    const { 'messaging-root': path, 'messaging-max-whole': maxWhole } = chosen
    if (path === undefined) return new Files(undefined, maxWhole, limitedLog, handlers, requestId)
    const files = await FileStore.open(path, '--messaging-root', {
      quota: chosen['messaging-quota'],
      share: QUOTA_SHARE,
      partAge: chosen['messaging-part-age'] * 1000,
    })
    host.untrustedFolders.add(files.path, '--messaging-root')
    await files.clean()
    host.every(CLEANING_INTERVAL, () => files.clean())
    const store = new Store(files, {
      maxTransfers: chosen['messaging-max-transfers'],
      share: TRANSFER_SHARE,
      maxFile: chosen['messaging-max-file'],
      idleTimeout: chosen['messaging-idle'] * 1000,
    })
    return new Files(store, maxWhole, limitedLog, handlers, requestId)
  }

  /** Receives a file, or a part of one. Later actions of the client run when it is saved. */
  receive(action: Action, session: Session, bytes: number): void {
    const pushed = action as Pushed
    if (pushed.content instanceof ContentStream) pushed.content.claim()
    const size = Math.min(sizeOf(pushed.content), MAX_IN_MEMORY)
    const arriving = pushed.part === undefined ? this.#receiveWhole(pushed, session) : undefined
    session.tasks.runAction(async () => {
      try {
        const offset =
          arriving === undefined
            ? await this.#receivePart(pushed, session)
            : await this.#commit(await arriving, pushed, session)
        const { name, id } = action
        // clever-show sends no id and expects no answer.
        if (id !== undefined) session.send({ type: 'response', name, id, value: { offset } })
      } catch (error) {
        this.#fail(action, session, error)
      }
    }, bytes + size)
  }

  /** Answers the request for a file, or for a part of one. */
  serve(request: Request, session: Session, bytes: number): void {
    const { name, id, kwargs } = request
    session.tasks.runRequest(async () => {
      try {
        if (this.#downloads === undefined) throw off()
        if (!session.acceptsFrames) throw new FileError('refused', 'a file is sent in a frame: request it in a frame')
        await this.#downloads.start(session.client, kwargs, answer =>
          session.send({ type: 'response', name, id, ...answer }),
        )
      } catch (error) {
        this.#fail(request, session, error)
      }
    }, bytes)
  }

  api(sessions: ReadonlyMap<Client, Session>): FilesApi {
    return filesApiOf({ store: this.#store, handlers: this.#handlers, maxWhole: this.#maxWhole, sessions })
  }

  /** Ends the uploads and keeps their parts. */
  async close(): Promise<void> {
    await this.#uploads?.close()
  }

  /** Adds the built-in requests that the client library sends. */
  #addRequests(handlers: Handlers, requestId: RequestId): void {
    const add = (name: string, answer: (client: Client, kwargs: Kwargs) => Promise<unknown>) =>
      handlers.builtIn(name, async (client, _, kwargs) => {
        try {
          return await answer(client, kwargs)
        } catch (error) {
          const { code, message, cause } = failedBy(error)
          if (cause !== undefined)
            this.#limitedLog.add('error', { client: client.id, err: cause }, 'a file transfer failed')
          throw new Refused(code, message)
        }
      })
    add('fws.part', async (client, kwargs) => {
      if (this.#uploads === undefined) throw off()
      if (!isRecognizable(client) && !this.#asked.has(client)) {
        this.#asked.add(client)
        await requestId(client)
      }
      return { offset: await this.#uploads.find(client, uploadKeyIn(kwargs)) }
    })
    add('fws.hash', async (client, kwargs) => {
      if (this.#downloads === undefined) throw off()
      return this.#downloads.hash(client, kwargs)
    })
  }

  /** Writes the bytes as they arrive, also while earlier actions run; `#commit` waits for those. */
  #receiveWhole({ content, kwargs }: Pushed, session: Session): Promise<IncomingFile> {
    const filepath = kwargs.filepath as string
    const arriving = this.#queues.run(session, async () => {
      try {
        if (this.#store === undefined) throw off()
        const { client } = session
        await this.#handlers.check(client, { filepath, size: sizeOf(content), direction: 'in' })
        return await receive(this.#store, { writer: session, owner: quotaOwnerOf(client), filepath }, content)
      } catch (error) {
        abandon(content)
        throw error
      }
    })
    // An earlier action may still run when it fails.
    arriving.catch(() => {})
    return arriving
  }

  async #commit(file: IncomingFile, { content }: Pushed, session: Session): Promise<number> {
    const size = sizeOf(content)
    try {
      await file.commit()
    } finally {
      await file.end(false)
    }
    await this.#handlers.notify(session.client, { filepath: file.filepath, size, direction: 'in' })
    return size
  }

  async #receivePart({ content, kwargs, part }: Pushed, session: Session): Promise<number> {
    const filepath = kwargs.filepath as string
    const { size } = part!
    if (content instanceof ContentStream) {
      abandon(content)
      throw new FileError('too-large', `a part has at most ${MAX_IN_MEMORY} bytes, received ${content.size}`)
    }
    if (this.#uploads === undefined) throw off()
    const notice = { filepath, size, direction: 'in' } as const
    return this.#uploads.append(session.client, filepath, part!, content, {
      allow: () => this.#handlers.check(session.client, notice),
      saved: () => this.#handlers.notify(session.client, notice),
    })
  }

  #fail({ name, id, type }: Action | Request, session: Session, error: unknown): void {
    const { code, message, cause } = failedBy(error)
    const fields = { client: session.client.id, remote: session.client.remote, code }
    if (cause !== undefined) this.#limitedLog.add('error', { ...fields, err: cause }, 'a file transfer failed')
    else if (id === undefined) this.#limitedLog.add('warn', fields, `file refused: ${message}`)
    if (type === 'message') session.client.drop(`file: ${code}`)
    if (id !== undefined) session.send({ type: 'response', name, id, value: null, error: { code, message } })
  }
}

/** @throws FileError `path`, `offset` */
function uploadKeyIn({ filepath, size, key }: Kwargs): UploadKey {
  if (!isKey(key))
    throw new FileError('path', `the key of an upload is 1 to 64 of A-Z a-z 0-9 _ -, received ${shown(key)}`)
  if (!isCount(size)) throw new FileError('offset', `the size of a file is a number of bytes, received ${shown(size)}`)
  return { filepath: filepath as string, size, key }
}

function off(): FileError {
  return new FileError('off', 'file transfers are off')
}
