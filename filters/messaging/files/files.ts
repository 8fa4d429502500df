import type { Client, Host } from 'filtered-websocket'
import { FileError, FileStore, type RateLimitedLog, SerialQueues } from 'filtered-websocket/kit'
import { isCount } from '../../../protocols/clever-show/frame.ts'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import { isKey } from '../../../protocols/clever-show/part.ts'
import type { options } from '../options.ts'
import type { Handlers } from '../rpc/handlers.ts'
import { Refused } from '../rpc/refused.ts'
import type { Session } from '../rpc/session.ts'
import { Incoming } from '../wire/incoming.ts'
import type { Action, Kwargs, Request } from '../wire/message.ts'
import { type FilesApi, filesApiOf } from './api.ts'
import { failedBy } from './failed.ts'
import { Permission } from './permission.ts'
import { quotaOwnerOf } from './quota-owner.ts'
import { abandon, type Content, receive, sizeOf } from './receive.ts'
import { Serving } from './serve.ts'
import { canComeBack } from './upload.ts'
import { Uploads } from './uploads.ts'
import { Store, type Writing } from './writing.ts'

/** Milliseconds between two looks for parts that are too old. */
const CLEANING = 60_000
/** Bytes of a file that comes, which are in memory. */
const IN_MEMORY = 262_144
/** Of the files under way, and of the room that is free, those of one client. */
const TRANSFER_SHARE = 1 / 8
const ROOM_SHARE = 1 / 4

/** Asks a client who it is. */
type LearnId = (client: Client) => Promise<void>

type Pushed = Action & { readonly content: Content }

/** Files of clients: those that they send, and those that they ask for. */
export class Files {
  readonly #store: Store | undefined
  readonly #uploads: Uploads | undefined
  readonly #serving: Serving | undefined
  readonly #permission: Permission
  readonly #limitedLog: RateLimitedLog
  readonly #maxWhole: number
  /** Whole files of a client are written one after the other. */
  readonly #queues = new SerialQueues<Session>()
  /** Those who were asked who they are. */
  readonly #asked = new WeakSet<Client>()

  private constructor(
    store: Store | undefined,
    maxWhole: number,
    limitedLog: RateLimitedLog,
    handlers: Handlers,
    learnId: LearnId,
  ) {
    this.#store = store
    this.#maxWhole = maxWhole
    this.#limitedLog = limitedLog
    this.#permission = new Permission((err, { id }) =>
      limitedLog.add('error', { err, client: id }, 'a file handler failed'),
    )
    this.#uploads = store && new Uploads(store)
    this.#serving = store && new Serving({ store, permission: this.#permission, maxWhole })
    this.#offer(handlers, learnId)
  }

  /**
   * @param learnId - of one who asks for an upload of his, and has not told who he is.
   * @throws Error `ERR_OPTION`: the root cannot be used.
   */
  static async open(
    host: Host<typeof options>,
    limitedLog: RateLimitedLog,
    handlers: Handlers,
    learnId: LearnId,
  ): Promise<Files> {
    const { options: chosen } = host
    const { 'messaging-root': path, 'messaging-max-whole': maxWhole } = chosen
    if (path === undefined) return new Files(undefined, maxWhole, limitedLog, handlers, learnId)
    const files = await FileStore.open(path, '--messaging-root', {
      quota: chosen['messaging-quota'],
      share: ROOM_SHARE,
      partAge: chosen['messaging-part-age'] * 1000,
    })
    host.untrustedFolders.add(files.path, '--messaging-root')
    await files.clean()
    host.every(CLEANING, () => files.clean())
    const store = new Store(files, {
      maxTransfers: chosen['messaging-max-transfers'],
      share: TRANSFER_SHARE,
      maxFile: chosen['messaging-max-file'],
      idleTimeout: chosen['messaging-idle'] * 1000,
    })
    return new Files(store, maxWhole, limitedLog, handlers, learnId)
  }

  /** Takes a file, or a part of one; the actions that follow wait until it is in its place. */
  hear(said: Action, session: Session, bytes: number): void {
    const pushed = said as Pushed
    if (pushed.content instanceof Incoming) pushed.content.claim()
    const size = Math.min(sizeOf(pushed.content), IN_MEMORY)
    const arriving = pushed.part === undefined ? this.#arrive(pushed, session) : undefined
    session.work.act(async () => {
      try {
        const offset =
          arriving === undefined ? await this.#part(pushed, session) : await this.#place(pushed, session, arriving)
        this.#answer(said, session, { offset })
      } catch (error) {
        this.#fail(said, session, error)
      }
    }, bytes + size)
  }

  /** Answers the request for a file, or for a part of one. */
  serve(said: Request, session: Session, bytes: number): void {
    const { name, id, kwargs } = said
    session.work.serve(async () => {
      try {
        if (this.#serving === undefined) throw off()
        if (!session.speaksFrames) throw new FileError('refused', 'a file is sent in frames only: ask for it in one')
        await this.#serving.serve(session.client, kwargs, answer =>
          session.send({ type: 'response', name, id, ...answer }),
        )
      } catch (error) {
        this.#fail(said, session, error)
      }
    }, bytes)
  }

  api(sessions: ReadonlyMap<Client, Session>): FilesApi {
    return filesApiOf({ store: this.#store, permission: this.#permission, maxWhole: this.#maxWhole, sessions })
  }

  /** What is not whole stays as it is. */
  async close(): Promise<void> {
    await this.#uploads?.close()
  }

  /** What clients of ours ask beside the files themselves. */
  #offer(handlers: Handlers, learnId: LearnId): void {
    const offer = (name: string, answer: (client: Client, kwargs: Kwargs) => Promise<unknown>) =>
      handlers.own(name, async (client, _, kwargs) => {
        try {
          return await answer(client, kwargs)
        } catch (error) {
          const { code, message, cause } = failedBy(error)
          if (cause !== undefined) this.#limitedLog.add('error', { client: client.id, err: cause }, 'a file failed')
          throw new Refused(code, message)
        }
      })
    offer('fws.part', async (client, kwargs) => {
      if (this.#uploads === undefined) throw off()
      if (!canComeBack(client) && !this.#asked.has(client)) {
        this.#asked.add(client)
        await learnId(client)
      }
      return { offset: await this.#uploads.find(client, namedIn(kwargs)) }
    })
    offer('fws.hash', async (client, kwargs) => {
      if (this.#serving === undefined) throw off()
      return this.#serving.hash(client, kwargs)
    })
  }

  /** Its bytes are written as they come; what was said before it is done before it is seen. */
  #arrive({ content, kwargs }: Pushed, session: Session): Promise<Writing> {
    const filepath = kwargs.filepath as string
    const arrive = async () => {
      try {
        if (this.#store === undefined) throw off()
        const { client } = session
        await this.#permission.ask(client, { filepath, size: sizeOf(content), direction: 'in' })
        return await receive(this.#store, { writer: session, owner: quotaOwnerOf(client), filepath }, content)
      } catch (error) {
        abandon(content)
        throw error
      }
    }
    const arriving = this.#queues.of(session).run(arrive)
    // An earlier action may still be running when it fails.
    arriving.catch(() => {})
    return arriving
  }

  async #place(said: Pushed, session: Session, arriving: Promise<Writing>): Promise<number> {
    const writing = await arriving
    const size = sizeOf(said.content)
    try {
      await writing.place()
    } finally {
      await writing.end(false)
    }
    await this.#permission.tell(session.client, { filepath: writing.plan.filepath, size, direction: 'in' })
    return size
  }

  async #part({ content, kwargs, part }: Pushed, session: Session): Promise<number> {
    const filepath = kwargs.filepath as string
    const { size } = part!
    if (content instanceof Incoming) {
      abandon(content)
      throw new FileError('too-large', `a part has at most ${IN_MEMORY} bytes, received ${content.size}`)
    }
    if (this.#uploads === undefined) throw off()
    const file = { filepath, size, direction: 'in' } as const
    return this.#uploads.take(session.client, filepath, part!, content, {
      allow: () => this.#permission.ask(session.client, file),
      placed: () => this.#permission.tell(session.client, file),
    })
  }

  /** The original neither asks for an answer nor knows one. */
  #answer({ name, id }: Action, session: Session, value: unknown): void {
    if (id !== undefined) session.send({ type: 'response', name, id, value })
  }

  #fail({ name, id, type }: Action | Request, session: Session, error: unknown): void {
    const failed = failedBy(error)
    const { code, message } = failed
    const about = { client: session.client.id, remote: session.client.remote, code }
    if (failed.cause !== undefined) this.#limitedLog.add('error', { ...about, err: failed.cause }, 'a file failed')
    else if (id === undefined) this.#limitedLog.add('warn', about, `a file was not taken: ${message}`)
    if (type === 'message') session.client.drop(`file: ${code}`)
    if (id !== undefined) session.send({ type: 'response', name, id, value: null, error: { code, message } })
  }
}

function namedIn({ filepath, size, key }: Kwargs) {
  if (!isKey(key))
    throw new FileError('path', `the key of an upload is 1 to 64 of A-Z a-z 0-9 _ -, received ${shown(key)}`)
  if (!isCount(size)) throw new FileError('offset', `the size of a file is a number of bytes, received ${shown(size)}`)
  return { filepath: filepath as string, size, key }
}

function off(): FileError {
  return new FileError('off', 'no files are sent or taken here')
}
