import type { Client, Closed, Drop, Host, Message, Payload, Verdict } from 'filtered-websocket'
import { SerialQueue } from 'filtered-websocket/kit'
import { looksLikeEnvelope, MalformedError, readEnvelope } from '../protocols/nanollm/envelope.ts'
import { isUploadType } from '../protocols/nanollm/kinds.ts'
import { createApi, type MediaApi } from './media/api.ts'
import { ClientFiles } from './media/client-files.ts'
import { enveloped, simple } from './media/codecs.ts'
import { Handlers } from './media/handlers.ts'
import { checkImage } from './media/image.ts'
import { type Media, plainPayload, readMedia, readSimpleMedia } from './media/message.ts'
import type { options } from './media/options.ts'
import { UploadError } from './media/upload-error.ts'

export const describe = 'Exchange text, files, audio and images in NanoLLM envelopes'

export type { MediaApi } from './media/api.ts'
export type { Media } from './media/message.ts'
export { options } from './media/options.ts'
export type { Uploaded } from './media/saved-file.ts'

declare module 'filtered-websocket' {
  interface MessageViews {
    media?: Media
  }
  interface FilterApis {
    media: MediaApi
  }
}

/** Fits a photo in one message, as the browser client of NanoLLM sends it. */
export const limits = { 'max-payload': 16 * 1024 * 1024 }

const INVALID_PAYLOAD = 1007

/**
 * Decodes the envelopes of NanoLLM's web server, so that other filters get their payloads. A WebSocket client speaks
 * envelopes until it sends text.
 */
export const setup = async (host: Host<typeof options>) => {
  const { 'media-strict': strict, 'media-max-json': maxJson } = host.options
  const decoding = new SerialQueue()
  const files = await ClientFiles.open(host)
  const handlers = new Handlers()
  const members = new Set<Client>()
  const api = createApi(handlers, members)

  /** The client's last message decides whether it is a simple client. */
  function read(payload: Payload, client: Client, at: number): Media {
    if (typeof payload === 'string') client.codec = simple
    if (client.codec === simple && (typeof payload === 'string' || !looksLikeEnvelope(payload)))
      return readSimpleMedia(payload, at, maxJson)
    const envelope = readEnvelope(payload as Buffer)
    files.checkId(Number(envelope.id), client)
    const media = readMedia(envelope, maxJson)
    client.codec = enveloped
    return media
  }

  /** Handles messages with files or images, and those for handlers of other filters. */
  async function handle(received: Media, client: Client, message: Message): Promise<Verdict> {
    let media: Media | undefined = received
    if (isUploadType(media.kind)) media = await files.handleUpload(media, client)
    else if (isFile(media)) media = await files.save(media.kind === 'image' ? await checkImage(media, decoding) : media)
    if (media === undefined) return client.drop('upload')
    message.media = media
    const verdict = (await handlers.run(media.kind, media, client)) as Verdict
    return verdict === undefined ? plainPayload(media) : verdict
  }

  function refuse(error: unknown, client: Client): Drop {
    if (error instanceof UploadError) {
      api.alert(client, error.message, { level: 'error', category: 'upload' })
      return client.drop('upload refused')
    }
    if (!(error instanceof MalformedError)) throw error
    if (strict) return client.disconnect(INVALID_PAYLOAD, error.message)
    api.alert(client, error.message, { level: 'error', category: 'message' })
    return client.drop('malformed')
  }

  return {
    connect(client: Client) {
      if (client.handshake?.kind === 'websocket' && client.codec.name === 'plain') client.codec = enveloped
    },

    open(client: Client) {
      // A client of another protocol, or not a WebSocket client.
      if (client.codec !== enveloped) return
      members.add(client)
      if (handlers.has('connect')) return handlers.run('connect', client) as Promise<Drop | void>
    },

    message(payload: Payload, client: Client, message: Message) {
      if (!members.has(client)) return
      try {
        const media = read(payload, client, message.at)
        if (isFile(media) || isUploadType(media.kind) || handlers.has(media.kind))
          return handle(media, client, message).catch(error => refuse(error, client))
        message.media = media
        return plainPayload(media)
      } catch (error) {
        return refuse(error, client)
      }
    },

    async disconnect(client: Client, closed: Closed) {
      if (!members.delete(client)) return
      await files.dropClient(client)
      return (await handlers.run('disconnect', client, closed)) as Drop | void
    },

    request: files.serve,
    stop: () => files.close(),
    api,
  }
}

function isFile({ kind }: Media): boolean {
  return kind === 'file' || kind === 'image'
}
