import type { Client, Host } from 'filtered-websocket'
import {
  type CallFailed,
  FileError,
  FileUploads,
  partName,
  type RateLimitedLog,
  SerialQueues,
  type Upload,
} from 'filtered-websocket/kit'
import { MAX_PART } from '../../../protocols/clever-show/frame.ts'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import { isKey } from '../../../protocols/clever-show/part.ts'
import type { options } from '../options.ts'
import { type Handlers, Refused } from '../rpc/handlers.ts'
import type { Session } from '../rpc/session.ts'
import { ContentStream } from '../wire/content-stream.ts'
import type { Action, Kwargs, Request } from '../wire/message.ts'
import { type FilesApi, filesApiOf } from './api.ts'
import { abandon, type Content, receive, sizeOf } from './content.ts'
import { countOf, Downloads } from './downloads.ts'
import { FileHandlers } from './file-handlers.ts'
import { openStore, ownerOf, type Store } from './store.ts'
import { failedBy } from './transfers.ts'

/** Requests the id of a client. */
type RequestId = (client: Client) => Promise<void>

type Pushed = Action & { readonly content: Content }

/** The parts that exist with `--messaging-root`. */
interface Root {
  readonly store: Store
  readonly uploads: FileUploads
  readonly downloads: Downloads
}

/** Files that clients send and request. */
export class Files {
  readonly #root: Root | undefined
  readonly #handlers: FileHandlers
  readonly #limitedLog: RateLimitedLog
  /** Files in single frames of a client are written one after the other. */
  readonly #queues = new SerialQueues<Session>()
  /** Clients whose id was requested. */
  readonly #asked = new WeakSet<Client>()

  private constructor(store: Store | undefined, limitedLog: RateLimitedLog) {
    this.#limitedLog = limitedLog
    this.#handlers = new FileHandlers((err, { id }) =>
      limitedLog.add('error', { err, client: id }, 'a file handler failed'),
    )
    this.#root = store && {
      store,
      uploads: new FileUploads(store.incoming, store.idleTimeout),
      downloads: new Downloads(store, this.#handlers),
    }
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
    const files = new Files(await openStore(host), limitedLog)
    files.#addRequests(handlers, requestId)
    return files
  }

  /** Receives a file, or a part of one. Later actions of the client run when it is saved. */
  receive(action: Action, session: Session, bytes: number): void {
    const pushed = action as Pushed
    const { content, part, name, id } = pushed
    if (content instanceof ContentStream) content.claim()
    const save = part === undefined ? this.#receiveFrame(pushed, session) : () => this.#receivePart(pushed, session)
    const run = () =>
      this.#guard(action, session, async () => {
        const offset = await save()
        // clever-show sends no id and expects no answer.
        if (id !== undefined) session.send({ type: 'response', name, id, value: { offset } })
      })
    session.tasks.runAction(run, bytes + Math.min(sizeOf(content), MAX_PART))
  }

  /** Answers the request for a file, or for a part of one. */
  serve(request: Request, session: Session, bytes: number): void {
    const { name, id, kwargs } = request
    const run = () =>
      this.#guard(request, session, async () => {
        const { downloads } = this.#opened()
        if (!session.acceptsFrames) throw new FileError('refused', 'a file is sent in a frame: request it in a frame')
        await downloads.start(session.client, kwargs, answer => session.send({ type: 'response', name, id, ...answer }))
      })
    session.tasks.runRequest(run, bytes)
  }

  api(sessions: ReadonlyMap<Client, Session>): FilesApi {
    return filesApiOf(this.#root?.store, this.#handlers, sessions)
  }

  /** Ends the uploads and keeps their parts. */
  async close(): Promise<void> {
    await this.#root?.uploads.close()
  }

  /** @throws FileError `off` */
  #opened(): Root {
    if (this.#root === undefined) throw new FileError('off', 'file transfers are off')
    return this.#root
  }

  /** Adds the built-in requests that the client library sends. */
  #addRequests(handlers: Handlers, requestId: RequestId): void {
    const add = (name: string, answer: (client: Client, kwargs: Kwargs) => Promise<unknown>) =>
      handlers.builtIn(name, async (client, _, kwargs) => {
        try {
          return await answer(client, kwargs)
        } catch (error) {
          const { code, message } = this.#logged(error, client)
          throw new Refused(code, message)
        }
      })
    add('fws.part', async (client, kwargs) => {
      const { uploads } = this.#opened()
      if (!isRecognizable(client) && !this.#asked.has(client)) {
        this.#asked.add(client)
        await requestId(client)
      }
      return { offset: await uploads.find(uploadOf(client, kwargs), client) }
    })
    add('fws.hash', async (client, kwargs) => this.#opened().downloads.hash(client, kwargs))
  }

  /**
   * Writes the bytes as they arrive, also while earlier actions run.
   *
   * @returns waits for the bytes, saves the file and returns its size.
   */
  #receiveFrame({ content, kwargs }: Pushed, session: Session): () => Promise<number> {
    const filepath = kwargs.filepath as string
    const { client } = session
    const notice = { filepath, size: sizeOf(content), direction: 'in' } as const
    const arriving = this.#queues.run(session, async () => {
      try {
        const { incoming } = this.#opened().store
        await this.#handlers.check(client, notice)
        return await receive(incoming, { writer: session, owner: ownerOf(client), filepath }, content)
      } catch (error) {
        abandon(content)
        throw error
      }
    })
    // An earlier action may still run when it fails.
    arriving.catch(() => {})
    return async () => {
      const file = await arriving
      await file.commit().finally(() => file.end(false))
      await this.#handlers.notify(client, notice)
      return notice.size
    }
  }

  async #receivePart({ content, kwargs, part }: Pushed, { client }: Session): Promise<number> {
    if (content instanceof ContentStream) {
      abandon(content)
      throw new FileError('too-large', `a part has at most ${MAX_PART} bytes, received ${content.size}`)
    }
    const { offset, size, key, sha256 } = part!
    const upload = uploadOf(client, { ...kwargs, size, key })
    const notice = { filepath: upload.filepath, size, direction: 'in' } as const
    return this.#opened().uploads.append(
      upload,
      client,
      { offset, bytes: content, sha256 },
      { allow: () => this.#handlers.check(client, notice), saved: () => this.#handlers.notify(client, notice) },
    )
  }

  /** Handles a message; its error becomes the answer. */
  async #guard({ name, id, type }: Action | Request, session: Session, handle: () => Promise<void>): Promise<void> {
    const { client } = session
    try {
      await handle()
    } catch (error) {
      const { code, message, cause } = this.#logged(error, client)
      if (type === 'message') client.drop(`file: ${code}`)
      if (id !== undefined) session.send({ type: 'response', name, id, value: null, error: { code, message } })
      else if (cause === undefined)
        this.#limitedLog.add('warn', { client: client.id, remote: client.remote, code }, `file refused: ${message}`)
    }
  }

  /** The error as a client may see it; one that the operator should see is logged. */
  #logged(error: unknown, { id, remote }: Client): CallFailed {
    const failed = failedBy(error)
    const { code, cause } = failed
    if (cause !== undefined)
      this.#limitedLog.add('error', { client: id, remote, code, err: cause }, 'a file transfer failed')
    return failed
  }
}

/** Whether a client can be recognized after a reconnect. Otherwise its uploads end with its connection. */
function isRecognizable({ identity, state }: Client): boolean {
  return identity !== undefined || state.messaging?.id !== undefined
}

/** @throws FileError `path`, `offset` */
function uploadOf(client: Client, kwargs: Kwargs): Upload {
  const { filepath, key } = kwargs
  if (!isKey(key))
    throw new FileError('path', `the key of an upload is 1 to 64 of A-Z a-z 0-9 _ -, received ${shown(key)}`)
  const size = countOf(kwargs, 'size')
  const { id, identity = '', state } = client
  const isResumable = isRecognizable(client)
  const sender = isResumable ? [identity, state.messaging?.id ?? ''] : [id]
  return {
    part: partName('key', [...sender, key, filepath, size]),
    filepath: filepath as string,
    size,
    isResumable,
    owner: ownerOf(client),
    writer: {},
  }
}
