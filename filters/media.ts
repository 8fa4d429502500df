import type { Client, Closed, Drop, Host, Message, Payload, Verdict } from 'filtered-websocket'
import { looksLikeEnvelope, MalformedError, readEnvelope } from '../protocols/nanollm/envelope.ts'
import { apiOf, type MediaApi } from './media/api.ts'
import { enveloped, simple } from './media/codecs.ts'
import { Files } from './media/files.ts'
import { Handlers } from './media/handlers.ts'
import { checkedImage, Decoder } from './media/image.ts'
import { type Media, mediaOf, plainOf, simpleMediaOf } from './media/message.ts'
import type { options } from './media/options.ts'
import { Refused } from './media/refused.ts'

export const describe = 'Exchange text, files, audio and images in NanoLLM envelopes'

export type { MediaApi } from './media/api.ts'
export type { Media, Uploaded } from './media/message.ts'
export { options } from './media/options.ts'

declare module 'filtered-websocket' {
  interface MessageViews {
    media?: Media
  }
  interface FilterApis {
    media: MediaApi
  }
}

/** A photograph in one message, as the original browser client sends it. */
export const limits = { 'max-payload': 16 * 1024 * 1024 }

const INVALID_PAYLOAD = 1007

/**
 * JSON, text, bytes, files, audio and images in the envelopes of NanoLLM's web server. Every WebSocket client is taken to
 * speak them until it sends text; other filters see what is inside.
 */
export const setup = async (host: Host<typeof options>) => {
  const { 'media-strict': strict, 'media-max-json': maxJson } = host.options
  const decoder = new Decoder()
  const files = await Files.open(host)
  const handlers = new Handlers()
  const members = new Set<Client>()
  const api = apiOf(handlers, members)

  /** Which of the two a client speaks is told by what it said last. */
  function read(payload: Payload, client: Client, at: number): Media {
    if (typeof payload === 'string') client.codec = simple
    if (client.codec === simple && (typeof payload === 'string' || !looksLikeEnvelope(payload)))
      return simpleMediaOf(payload, at, maxJson)
    const envelope = readEnvelope(payload as Buffer)
    files.count(Number(envelope.id), client)
    const media = mediaOf(envelope, maxJson)
    client.codec = enveloped
    return media
  }

  /** What takes time: files and images, and whatever other filters do with it. */
  async function work(read: Media, client: Client, message: Message): Promise<Verdict> {
    const media = files.isAbout(read.kind) ? await files.hear(read, client) : await checked(read)
    if (media === undefined) return client.drop('upload')
    message.media = media
    const verdict = (await handlers.run(media.kind, media, client)) as Verdict
    return verdict === undefined ? plainOf(media) : verdict
  }

  async function checked(media: Media): Promise<Media> {
    if (!isFile(media)) return media
    return files.keep(media.kind === 'image' ? await checkedImage(media, decoder) : media)
  }

  function refuse(error: unknown, client: Client): Drop {
    if (error instanceof Refused) {
      api.alert(client, error.reason, { level: 'error', category: 'upload' })
      return client.drop('upload refused')
    }
    if (!(error instanceof MalformedError)) throw error
    if (strict) return client.disconnect(INVALID_PAYLOAD, error.message)
    api.alert(client, error.message, { level: 'error', category: 'message' })
    return client.drop('malformed')
  }

  return {
    connect(client: Client) {
      if (client.codec.name === 'plain') client.codec = enveloped
    },

    open(client: Client) {
      // Another protocol's, or no WebSocket.
      if (client.codec !== enveloped) return
      members.add(client)
      if (handlers.has('connect')) return handlers.run('connect', client) as Promise<Drop | void>
    },

    message(payload: Payload, client: Client, message: Message) {
      if (!members.has(client)) return
      try {
        const media = read(payload, client, message.at)
        if (isFile(media) || files.isAbout(media.kind) || handlers.has(media.kind))
          return work(media, client, message).catch(error => refuse(error, client))
        message.media = media
        return plainOf(media)
      } catch (error) {
        return refuse(error, client)
      }
    },

    async disconnect(client: Client, closed: Closed) {
      if (!members.delete(client)) return
      await files.drop(client)
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
