import type { Audience, Client, Drop, Server } from 'filtered-websocket'
import type { AudioFormat } from '../../protocols/nanollm/audio.ts'
import { isKind, type Kind, VALID_KINDS } from '../../protocols/nanollm/kinds.ts'
import { type Alert, type AlertOptions, alertOf } from './alert.ts'
import { bodyOf, FORMAT, type Outgoing } from './codecs.ts'
import type { Handlers, On } from './handlers.ts'
import { wav } from './wav.ts'

/** What `host.use('media')` gives. */
export interface MediaApi {
  /** Before the server starts; handlers run ahead of the filters behind this one. */
  readonly on: On
  /** A message of any kind; a client that speaks no envelopes gets what is in it. The three throw a TypeError for what is no kind, or not of it. */
  send(client: Client, kind: Kind, value: unknown, how?: Outgoing): void
  /** Sends, and ends the chain. */
  answer(client: Client, kind: Kind, value: unknown, how?: Outgoing): Drop
  /** To the media clients of every node. What a client says goes through its own `client.server`. */
  broadcast(server: Server, kind: Kind, value: unknown, how?: Outgoing & Audience): void
  /** Shows a message to the user of a client, or to all. Answers what was sent. */
  alert(to: Client | Server, message: string, options?: AlertOptions): Alert
  /** What came as `audio`, as a WAV file. */
  wav(pcm: Buffer, sound: AudioFormat): Buffer
  /** Media clients of this node. */
  readonly numClients: number
  readonly connected: boolean
}

/** @param members - the media clients, as they come and go. */
export function apiOf({ on }: Handlers, members: ReadonlySet<Client>): MediaApi {
  let alerts = 0
  return {
    on,
    send: (client, kind, value, how) => client.send(checkedBody(kind, value, how), FORMAT),
    answer: (client, kind, value, how) => client.answer(checkedBody(kind, value, how), FORMAT),
    broadcast: (server, kind, value, how) =>
      server.broadcast(checkedBody(kind, value, how), { ...how, format: FORMAT }),
    alert(to, message, options) {
      const alert = alertOf(alerts++, message, options)
      const body = bodyOf('json', { alert })
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

/** What is said of uploads, types 6 and 7, is for this filter alone to send. */
function checkedBody(kind: Kind, value: unknown, how: Outgoing | undefined): Buffer {
  if (!isKind(kind)) throw new TypeError(`a kind is ${VALID_KINDS}, received ${JSON.stringify(kind)}`)
  return bodyOf(kind, value, how)
}
