import type {
  Audience,
  Client,
  Closed,
  Drop,
  Host,
  Message,
  OptionSpecs,
  Payload,
  Server,
  Verdict,
} from 'filtered-websocket'
import { type Alert, type AlertOptions, alertOf } from './media/alert.ts'
import { bodyOf, enveloped, FORMAT, type Outgoing, simple } from './media/codecs.ts'
import { looksLikeEnvelope, Malformed, readEnvelope } from './media/envelope.ts'
import { Handlers, type On } from './media/handlers.ts'
import { checkedImage } from './media/image.ts'
import type { Kind } from './media/kinds.ts'
import { type Media, mediaOf, plainOf, simpleMediaOf } from './media/message.ts'

export const options = {
  'media-strict': {
    type: 'boolean',
    default: false,
    describe: 'close a client that sends what is no message (1007); else it is told so by an alert',
  },
} as const satisfies OptionSpecs

/** What `host.use('media')` gives. */
export interface MediaApi {
  /** Before the server starts; handlers run ahead of the filters behind this one. */
  readonly on: On
  /** A message of any kind; a client that speaks no envelopes gets what is in it. */
  send(client: Client, kind: Kind, value: unknown, how?: Outgoing): void
  /** Sends, and ends the chain. */
  answer(client: Client, kind: Kind, value: unknown, how?: Outgoing): Drop
  /** To the media clients of every node. What a client says goes through its own `client.server`. */
  broadcast(server: Server, kind: Kind, value: unknown, how?: Outgoing & Audience): void
  /** Shows a message to the user of a client, or to all. Answers what was sent. */
  alert(to: Client | Server, message: string, options?: AlertOptions): Alert
  /** Media clients of this node. */
  readonly numClients: number
  readonly connected: boolean
}

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
export const setup = ({ options: chosen }: Host<typeof options>) => {
  const handlers = new Handlers()
  const members = new Set<Client>()
  let alerts = 0

  const api: MediaApi = {
    on: handlers.on,
    send: (client, kind, value, how) => client.send(bodyOf(kind, value, how), FORMAT),
    answer: (client, kind, value, how) => client.answer(bodyOf(kind, value, how), FORMAT),
    broadcast: (server, kind, value, how) => server.broadcast(bodyOf(kind, value, how), { ...how, format: FORMAT }),
    alert(to, message, options) {
      const alert = alertOf(alerts++, message, options)
      const body = bodyOf('json', { alert })
      if ('broadcast' in to) to.broadcast(body, { format: FORMAT })
      else to.send(body, FORMAT)
      return alert
    },
    get numClients() {
      return members.size
    },
    get connected() {
      return members.size > 0
    },
  }

  /** Which of the two a client speaks is told by what it said last. */
  function read(payload: Payload, client: Client, at: number): Media {
    if (typeof payload === 'string') client.codec = simple
    if (client.codec === simple && (typeof payload === 'string' || !looksLikeEnvelope(payload)))
      return simpleMediaOf(payload, at)
    const media = mediaOf(readEnvelope(payload as Buffer))
    client.codec = enveloped
    return media
  }

  function refuse(error: unknown, client: Client): Drop {
    if (!(error instanceof Malformed)) throw error
    if (chosen['media-strict']) return client.disconnect(INVALID_PAYLOAD, error.message)
    api.alert(client, error.message, { level: 'error', category: 'message' })
    return client.drop('malformed')
  }

  /** What needs time: looking into images, and whatever other filters do with it. */
  async function work(read: Media, client: Client, message: Message): Promise<Verdict> {
    const media = read.kind === 'image' ? await checkedImage(read) : read
    message.media = media
    return ((await handlers.run(media.kind, media, client)) as Verdict) ?? plainOf(media)
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
        if (media.kind === 'image' || handlers.has(media.kind))
          return work(media, client, message).catch(error => refuse(error, client))
        message.media = media
        return plainOf(media)
      } catch (error) {
        return refuse(error, client)
      }
    },

    disconnect(client: Client, closed: Closed) {
      if (members.delete(client)) return handlers.run('disconnect', client, closed) as Promise<Drop | void>
    },

    api,
  }
}
