import type { Client, Host } from 'filtered-websocket'
import { CHUNK, UPLOAD } from '../../protocols/nanollm/kinds.ts'
import { encodeBody, FORMAT } from './codecs.ts'
import { type Media, tryJson } from './message.ts'
import type { options } from './options.ts'
import type { SavedFile, Uploaded } from './saved-file.ts'
import { type Serve, serveUploads } from './serve.ts'
import { UploadSession } from './upload-session.ts'
import { Uploads } from './uploads.ts'

/** Bytes of a command: enough for the longest name with all characters escaped. */
const MAX_COMMAND = 8192

interface Sender {
  readonly session: UploadSession
  /** Saved files that have not passed the chain yet. */
  readonly saved: SavedFile[]
  /** Expected id of the next message, if the client numbers its messages. */
  nextId: number
}

/** The files of clients: in one message, or in chunks. */
export class ClientFiles {
  /** Serves the files; handles no request if uploads are off. */
  readonly serve: Serve
  readonly #uploads: Uploads | undefined
  /** Clients that have sent a message about uploads. */
  readonly #senders = new Map<Client, Sender>()

  private constructor(uploads: Uploads | undefined, serve: Serve) {
    this.#uploads = uploads
    this.serve = serve
  }

  /** @throws Error `ERR_OPTION`: the folder cannot be used. */
  static async open({ options: given, log, untrustedFolders }: Host<typeof options>): Promise<ClientFiles> {
    const folder = given['media-uploads']
    if (folder === undefined) return new ClientFiles(undefined, () => undefined)
    const url = given['media-upload-url']
    const uploads = new Uploads({
      folder,
      url,
      types: given['media-upload-types'],
      maxBytes: given['media-upload-size'],
      maxFiles: given['media-upload-count'],
      quota: given['media-upload-quota'],
      perClient: given['media-upload-parallel'],
      total: given['media-upload-slots'],
      log,
    })
    await uploads.open()
    untrustedFolders.add(uploads.folder, '--media-uploads')
    return new ClientFiles(uploads, serveUploads({ folder: uploads.folder, url, log }))
  }

  /** Ends the uploads of a client if its ids have a gap: the missing message may have been a chunk. */
  checkId(id: number, client: Client): void {
    const sender = this.#senders.get(client)
    if (sender === undefined) return
    if (id > sender.nextId) sender.session.handleLoss()
    sender.nextId = id + 1
  }

  /** Handles a message about an upload in chunks. Returns the file that it completes, as a message. */
  async handleUpload(media: Media, client: Client): Promise<Media | undefined> {
    const { session, saved } = this.#senderOf(client, media.id + 1)
    const bytes = media.payload as Buffer
    if (media.kind === CHUNK) await session.handleChunk(media.metadata, bytes)
    else await session.handleCommand(bytes.length > MAX_COMMAND ? undefined : tryJson(bytes.toString()))
    const file = saved.shift()
    return file === undefined ? undefined : uploadMessage(file, media)
  }

  /**
   * Saves a file or an image in one message, if uploads are on and its metadata has an extension.
   *
   * @throws UploadError
   */
  async save(media: Media): Promise<Media> {
    if (this.#uploads === undefined || media.metadata === '') return media
    const { path, url, mime } = await this.#uploads.save({ extension: media.metadata }, media.payload as Buffer)
    return { ...media, path, url, ...(mime !== undefined && { mime }) }
  }

  /** Ends the uploads of a client that has disconnected. */
  async dropClient(client: Client): Promise<void> {
    const sender = this.#senders.get(client)
    this.#senders.delete(client)
    await sender?.session.close()
  }

  async close(): Promise<void> {
    await this.#uploads?.close()
  }

  #senderOf(client: Client, nextId: number): Sender {
    const existing = this.#senders.get(client)
    if (existing !== undefined) return existing
    const saved: SavedFile[] = []
    const session = new UploadSession({
      uploads: this.#uploads,
      reply: reply => {
        if ('refused' in reply) client.drop('upload refused')
        client.send(encodeBody(UPLOAD, Buffer.from(JSON.stringify(reply))), FORMAT)
      },
      onSaved: file => void saved.push(file),
    })
    const sender = { session, saved, nextId }
    this.#senders.set(client, sender)
    return sender
  }
}

/** Filters without knowledge of media get the JSON in `raw`. */
function uploadMessage({ name, extension: metadata, ...file }: SavedFile, { id, timestamp }: Media): Media {
  const { url, size, kind, original } = file
  const payload: Uploaded = { name, url, size, kind, ...(original !== undefined && { original }) }
  return { ...file, kind: 'upload', payload, metadata, id, timestamp, raw: JSON.stringify({ file: payload }) }
}
