import type { Client, Host } from 'filtered-websocket'
import { readJson } from 'filtered-websocket/kit'
import { CHUNK, UPLOAD } from '../../protocols/nanollm/kinds.ts'
import { bodyOf, FORMAT } from './codecs.ts'
import { Conversation } from './conversation.ts'
import type { Media, Uploaded } from './message.ts'
import type { options } from './options.ts'
import type { Saved } from './saved.ts'
import { type Serve, serverOf } from './serve.ts'
import { Uploads } from './uploads.ts'

/** Bytes of a control message of an upload: enough for the longest name, written in escapes. */
const MAX_CONTROL = 8192

/** What is kept of one client's files. */
interface Sender {
  readonly conversation: Conversation
  /** There, and not yet told to the filters. */
  readonly saved: Saved[]
  /** Id of the next message, for a client that counts. */
  next: number
}

/** Files of clients: those that come in one message, and those that come in chunks. */
export class Files {
  /** Answers requests for them. */
  readonly serve: Serve
  readonly #uploads: Uploads | undefined
  readonly #senders = new Map<Client, Sender>()

  private constructor(uploads: Uploads | undefined, serve: Serve) {
    this.#uploads = uploads
    this.serve = serve
  }

  /** @throws Error `ERR_OPTION`: the folder cannot be used. */
  static async open({ options: chosen, log, untrustedFolders }: Host<typeof options>): Promise<Files> {
    const folder = chosen['media-uploads']
    if (folder === undefined) return new Files(undefined, () => undefined)
    const url = chosen['media-upload-url']
    const uploads = new Uploads({
      folder,
      url,
      types: chosen['media-upload-types'],
      maxBytes: chosen['media-upload-size'],
      maxFiles: chosen['media-upload-count'],
      quota: chosen['media-upload-quota'],
      perClient: chosen['media-upload-parallel'],
      total: chosen['media-upload-slots'],
      log,
    })
    await uploads.open()
    untrustedFolders.add(uploads.folder, '--media-uploads')
    return new Files(uploads, serverOf({ folder: uploads.folder, url, log }))
  }

  /** Whether a message of a kind is about uploads, and no filter's affair. */
  isAbout(kind: Media['kind']): boolean {
    return kind === UPLOAD || kind === CHUNK
  }

  /** Ends the uploads of a client whose ids tell that a message of it was lost, as to a rate limit: it may have been a chunk. */
  count(id: number, client: Client): void {
    const sender = this.#senders.get(client)
    if (sender === undefined) return
    if (id > sender.next) sender.conversation.lose()
    sender.next = id + 1
  }

  /** Takes such a message; answers the file that it completed, as a message of its own. */
  async hear(media: Media, client: Client): Promise<Media | undefined> {
    const { conversation, saved } = this.#senderOf(client, media.id + 1)
    const bytes = media.payload as Buffer
    await (media.kind === CHUNK ? conversation.chunk(media.metadata, bytes) : conversation.control(jsonIn(bytes)))
    const file = saved.shift()
    return file === undefined ? undefined : fileOf(file, media)
  }

  /**
   * A file or an image in one message, saved if there is a folder and its metadata is an extension.
   *
   * @throws Refused.
   */
  async keep(media: Media): Promise<Media> {
    if (this.#uploads === undefined || media.metadata === '') return media
    const { path, url, mime } = await this.#uploads.save({ extension: media.metadata }, media.payload as Buffer)
    return { ...media, path, url, ...(mime !== undefined && { mime }) }
  }

  /** The client has gone. */
  async drop(client: Client): Promise<void> {
    const sender = this.#senders.get(client)
    this.#senders.delete(client)
    await sender?.conversation.end()
  }

  async close(): Promise<void> {
    await this.#uploads?.close()
  }

  #senderOf(client: Client, next: number): Sender {
    const known = this.#senders.get(client)
    if (known !== undefined) return known
    const saved: Saved[] = []
    const conversation = new Conversation({
      uploads: this.#uploads,
      reply: json => {
        if ('refused' in json) client.drop('upload refused')
        client.send(bodyOf(UPLOAD, Buffer.from(JSON.stringify(json))), FORMAT)
      },
      saved: file => void saved.push(file),
    })
    const sender = { conversation, saved, next }
    this.#senders.set(client, sender)
    return sender
  }
}

function jsonIn(bytes: Buffer): unknown {
  if (bytes.length > MAX_CONTROL) return undefined
  try {
    return readJson(bytes.toString())
  } catch {
    return undefined
  }
}

/** To filters that know nothing of media it is the JSON text in `raw`. */
function fileOf(saved: Saved, { id, timestamp }: Media): Media {
  const { kind, name, url, size, original, path, extension, mime, rate, channels } = saved
  const file: Uploaded = { name, url, size, kind, ...(original !== undefined && { original }) }
  return {
    kind: 'upload',
    payload: file,
    size,
    metadata: extension,
    id,
    timestamp,
    raw: JSON.stringify({ file }),
    path,
    url,
    ...(original !== undefined && { original }),
    ...(mime !== undefined && { mime }),
    ...(rate !== undefined && channels !== undefined && { rate, channels }),
  }
}
