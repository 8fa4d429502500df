import type { Socket } from 'node:net'
import type { Awaitable, Client, Drop, Host, Message, Payload, Server, Verdict } from 'filtered-websocket'
import { apiOf, type MessagingApi } from './messaging/api.ts'
import { Clock, tellTime } from './messaging/clock.ts'
import { Codecs } from './messaging/codecs.ts'
import { Complaints } from './messaging/complaints.ts'
import { Connection } from './messaging/connection.ts'
import { Discovery } from './messaging/discovery.ts'
import { Files } from './messaging/files.ts'
import { Handlers, OWN } from './messaging/handlers.ts'
import { Heartbeat } from './messaging/heartbeat.ts'
import { Listener } from './messaging/listener.ts'
import { Malformed } from './messaging/malformed.ts'
import { FILE, type Messaging } from './messaging/message.ts'
import { NtpSync } from './messaging/ntp-sync.ts'
import type { options } from './messaging/options.ts'
import { IGNORED, Reader } from './messaging/reader.ts'
import { Session } from './messaging/session.ts'
import { offerTopics } from './messaging/topics.ts'

export type { Answer, MessagingApi } from './messaging/api.ts'
export type { Measured } from './messaging/measured.ts'
export type { Action, Args, Id, Kwargs, Messaging, Request, Response } from './messaging/message.ts'
export { options } from './messaging/options.ts'
export type { CallFailed, CallOptions } from './messaging/pending.ts'
export type { TimeApi } from './messaging/time-api.ts'

declare module 'filtered-websocket' {
  interface ClientState {
    /** The id that a messaging client says it has. Nothing proves it. */
    messaging?: { readonly id: string }
  }
  interface MessageViews {
    messaging?: Messaging
  }
  interface FilterApis {
    messaging: MessagingApi
  }
}

/** A content of 16 MiB, and its header. */
export const limits = { 'max-payload': 16 * 1024 * 1024 + 65_537 }

const TEXTUAL = 'messaging'
const FRAMED = 'messaging-frames'
const TRANSPORT = 'messaging'
const DROP = Symbol.for('filtered-websocket.drop') as Drop

/**
 * Actions, and requests in both directions, in the frames of clever-show's messaging: on a TCP port of its own, in binary
 * messages of WebSocket clients, and as texts of JSON for browsers.
 */
export const setup = async (host: Host<typeof options>) => {
  const { options: chosen, log } = host
  const codecs = new Codecs(chosen['messaging-action'])
  const handlers = new Handlers()
  offerTopics(handlers, chosen['messaging-topics'])
  const complaints = new Complaints(log)
  const reader = new Reader(codecs, chosen['messaging-max-json'], chosen['messaging-max-file'])
  const files = await Files.open(host, complaints, handlers)
  const sessions = new Map<Client, Session>()
  const clock = new Clock()
  tellTime(handlers, clock)
  const ntp = NtpSync.of(host, clock)
  const api = apiOf(handlers, sessions, files, { clock, ntp: ntp?.server })
  const listener = await Listener.of(host)
  const heartbeat = new Heartbeat(client => void api.call(client, 'id').catch(() => {}))
  const discovery = Discovery.of(host)

  function take(socket: Socket, server: Server): void {
    const connection = new Connection(socket, {
      maxContent: chosen['messaging-max-json'],
      maxFile: chosen['messaging-max-file'],
      idleTimeout: chosen['messaging-idle'] * 1000,
      headerTimeout: chosen['messaging-header-timeout'] * 1000,
      remember: frame => reader.remember(frame),
      refused: (why, remote) => complaints.add('warn', { remote }, `messaging peer refused: ${why}`),
    })
    try {
      const client = connection.attach(server)
      client.codec = codecs.framed
      heartbeat.add(client, socket)
    } catch (error) {
      log.debug({ err: error, remote: connection.remote }, 'messaging peer not taken')
      socket.destroy()
    }
  }

  function sessionOf(client: Client): Session {
    const known = sessions.get(client)
    if (known !== undefined) return known
    const limits = {
      maxCalls: chosen['messaging-max-calls'],
      maxWork: chosen['messaging-max-work'],
      maxBytes: chosen['messaging-max-json'],
    }
    const session = new Session(client, { handlers, codecs, complaints, ...limits })
    sessions.set(client, session)
    return session
  }

  /** Actions that nobody does go on to the filters that follow. */
  function hear(said: Messaging, session: Session, bytes: number): Awaitable<Verdict> {
    if (said.type === 'response') {
      if (!session.pending.settle(said)) return session.client.drop('unexpected response')
      return DROP
    }
    if (session.work.isFull) return session.work.room().then(() => hear(said, session, bytes))
    if (said.type === 'request') {
      // The original asks for nothing that begins so.
      if (said.name.startsWith(OWN)) session.knowsParts = true
      if (said.name === FILE) files.serve(said, session, bytes)
      else session.serve(said, bytes)
    } else if (said.content !== undefined) files.hear(said, session, bytes)
    else if (!session.act(said, bytes)) return codecs.plainOf(said)
    return DROP
  }

  return {
    connect(client: Client) {
      const { handshake } = client
      if (handshake === undefined || client.codec.name !== 'plain') return
      const protocol = [FRAMED, TEXTUAL].find(ours => handshake.protocols.includes(ours))
      if (protocol === undefined) return
      handshake.protocol = protocol
      client.codec = protocol === FRAMED ? codecs.framed : codecs.textual
    },

    open(client: Client) {
      if (!codecs.has(client.codec)) return
      const session = sessionOf(client)
      if (client.handshake?.protocol === FRAMED) session.knowsParts = true
      if (client.transport === TRANSPORT && chosen['messaging-ask-id']) void session.learnId()
    },

    message(payload: Payload, client: Client, message: Message): Awaitable<Verdict> {
      try {
        const said = reader.read(payload, client)
        if (said === undefined) return
        if (said === IGNORED) return client.drop('unknown type of message')
        message.messaging = said
        // Another protocol's client has no session, and what it says goes on as it is.
        return codecs.has(client.codec) ? hear(said, sessionOf(client), Buffer.byteLength(payload)) : undefined
      } catch (error) {
        if (!(error instanceof Malformed)) throw error
        complaints.add(
          'warn',
          { remote: client.remote, client: client.id },
          `messaging client refused: ${error.message}`,
        )
        return client.disconnect(error.closeCode, error.message)
      }
    },

    async disconnect(client: Client) {
      await sessions.get(client)?.work.actionsDone
      sessions.delete(client)
    },

    async start(server: Server) {
      ntp?.ask()
      if (listener === undefined) return
      const endpoint = await listener.listen(
        socket => take(socket, server),
        error => complaints.add('error', { err: error }, 'messaging could not take a connection'),
      )
      const url = listener.urlOf(endpoint)
      log.info({ url }, `messaging listens on ${url}`)
      const seconds = chosen['messaging-heartbeat']
      if (seconds > 0) host.every(seconds * 1000, () => heartbeat.beat())
      await discovery?.start(server, endpoint)
    },

    async stop() {
      ntp?.close()
      discovery?.close()
      listener?.close()
      await files.close()
    },
    api,
  }
}
