import type { Audience, Client, Drop, Server } from 'filtered-websocket'
import type { Alert } from '../../protocols/nanollm/alert.ts'
import type { AudioFormat } from '../../protocols/nanollm/audio.ts'
import { isKind, type Kind, VALID_KINDS } from '../../protocols/nanollm/kinds.ts'
import { type AlertOptions, createAlert } from './alert.ts'
import { encodeBody, FORMAT, type MessageOptions } from './codecs.ts'
import type { Handlers, On } from './handlers.ts'
import { wav } from './wav.ts'

/**
 * What `host.use('media')` returns. `send`, `answer` and `broadcast` throw a TypeError for an unknown kind, for a value that
 * does not fit the kind, and for an empty one. A simple client gets the bare payload.
 *
 * @example
 * const media = host.use('media')
 * media.on('image', ({ payload, metadata }, client) => media.broadcast(client.server, 'image', payload, { metadata }))
 */
export interface MediaApi {
  /** Adds a handler, in `setup`. Handlers run before the filters that follow this one. */
  readonly on: On
  /** Sends a message: `json` any JSON value, `text` a string, other kinds bytes. */
  send(client: Client, kind: Kind, value: unknown, options?: MessageOptions): void
  /** Sends a message and ends the chain. */
  answer(client: Client, kind: Kind, value: unknown, options?: MessageOptions): Drop
  /** Sends a message to the media clients of all nodes. With `client.server`, the permits of the client are checked. */
  broadcast(server: Server, kind: Kind, value: unknown, options?: MessageOptions & Audience): void
  /** Shows an alert to the user of a client, or to all users. Returns what was sent. */
  alert(to: Client | Server, message: string, options?: AlertOptions): Alert
  /** Makes a WAV file of the payload of an `audio` message. */
  wav(pcm: Buffer, format: AudioFormat): Buffer
  /** Number of media clients on this node. */
  readonly numClients: number
  /** Whether this node has a media client. */
  readonly connected: boolean
}

/** @param members - the media clients of this node; changes later. */
export function createApi({ on }: Handlers, members: ReadonlySet<Client>): MediaApi {
  let alerts = 0
  return {
    on,
    send: (client, kind, value, options) => client.send(checkedBody(kind, value, options), FORMAT),
    answer: (client, kind, value, options) => client.answer(checkedBody(kind, value, options), FORMAT),
    broadcast: (server, kind, value, options) =>
      server.broadcast(checkedBody(kind, value, options), { ...options, format: FORMAT }),
    alert(to, message, options) {
      const alert = createAlert(alerts++, message, options)
      const body = encodeBody('json', { alert })
      if ('broadcast' in to) to.broadcast(body, { format: FORMAT })
      else to.send(body, FORMAT)
      return alert
    },
    wav,
    get numClients() {
      return members.size
    },
    get connected() {
      return members.size > 0
    },
  }
}

/** Only this filter sends types 6 and 7, which are about uploads. */
function checkedBody(kind: Kind, value: unknown, options: MessageOptions | undefined): Buffer {
  if (!isKind(kind)) throw new TypeError(`a kind is ${VALID_KINDS}, received ${JSON.stringify(kind)}`)
  return encodeBody(kind, value, options)
}
