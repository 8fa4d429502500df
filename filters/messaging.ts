import type { Socket } from 'node:net'
import type { Awaitable, Client, Drop, Host, Message, Payload, Server, Verdict } from 'filtered-websocket'
import type {} from 'filtered-websocket/filters/announce'
import type {} from 'filtered-websocket/filters/clock'
import { Heartbeat, isPromise, RateLimitedLog } from 'filtered-websocket/kit'
import { writeAnnouncement } from '../protocols/clever-show/announcement.ts'
import { FILE } from '../protocols/clever-show/frame.ts'
import { Malformed } from '../protocols/clever-show/malformed.ts'
import { Files } from './messaging/files/files.ts'
import type { options } from './messaging/options.ts'
import { Resumption } from './messaging/resumption/resumption.ts'
import { apiOf, type MessagingApi } from './messaging/rpc/api.ts'
import { Handlers, RESERVED } from './messaging/rpc/handlers.ts'
import { Session } from './messaging/rpc/session.ts'
import { answerTime } from './messaging/rpc/time.ts'
import { offerTopics } from './messaging/rpc/topics.ts'
import { Connection } from './messaging/transport/connection.ts'
import { Listener } from './messaging/transport/listener.ts'
import { Codecs } from './messaging/wire/codecs.ts'
import { limitsOf } from './messaging/wire/limits.ts'
import type { Action, Frame, Messaging } from './messaging/wire/message.ts'
import { IGNORED, Reader } from './messaging/wire/reader.ts'

export const describe = 'Exchange actions, requests and files over WebSocket and TCP'
export const listens = 'messaging-port'

export type { Measured } from 'filtered-websocket/filters/clock'
export type { CallFailed, CallOptions } from 'filtered-websocket/kit'
export { options } from './messaging/options.ts'
export type { RemotePeer } from './messaging/peers/peers.ts'
export type { MessagingApi } from './messaging/rpc/api.ts'
export type { Answer } from './messaging/rpc/ask-clients.ts'
export type { Delivery } from './messaging/rpc/handlers.ts'
export type { TimeApi } from './messaging/rpc/time.ts'
export type { Action, Args, Id, Kwargs, Messaging, Request, Response } from './messaging/wire/message.ts'

declare module 'filtered-websocket' {
  interface ClientState {
    /** The id that a messaging client has sent. It is not authenticated. */
    messaging?: { readonly id: string }
  }
  interface MessageViews {
    messaging?: Messaging
    /** The frame that the TCP transport has parsed. */
    messagingFrame?: Frame
  }
  interface FilterApis {
    messaging: MessagingApi
  }
}

/** Bytes of a file of 16 MiB in one frame, with its header. */
export const limits = { 'max-payload': 16 * 1024 * 1024 + 65_537 }

export const uses = ['clock', 'announce']

const TRANSPORT = 'messaging'
/** Subprotocols, the preferred one first, and the codecs of their clients. */
const SUBPROTOCOLS = { 'messaging-json': 'mixed', 'messaging-frames': 'framed', messaging: 'textual' } as const
const DROP = Symbol.for('filtered-websocket.drop') as Drop

/**
 * Actions, and requests in both directions: in the frames of clever-show on a TCP port and in binary messages of WebSocket
 * clients, and as JSON strings.
 */
export const setup = async (host: Host<typeof options>) => {
  const { options: chosen, log } = host
  const codecs = new Codecs(chosen['messaging-action'])
  const handlers = new Handlers()
  offerTopics(handlers, chosen['messaging-topics'])
  const limitedLog = new RateLimitedLog(log)
  const limits = limitsOf(chosen['messaging-max-json'], chosen['messaging-max-file'])
  const reader = new Reader(codecs, limits)
  const sessions = new Map<Client, Session>()
  // Not of peers on TCP, which are asked when they connect.
  const requestId = async (client: Client) => {
    if (client.transport !== TRANSPORT && chosen['messaging-ask-id']) await sessions.get(client)?.requestId()
  }
  const files = await Files.open(host, limitedLog, handlers, requestId)
  const clock = host.use('clock')
  answerTime(handlers, clock)
  const resumption = Resumption.of(host, handlers, sessions, limitedLog)
  const api = apiOf(handlers, sessions, files, clock, resumption?.peers)
  const listener = Listener.of(host, limitedLog)
  const announce =
    listener &&
    host.use('announce').register(chosen['messaging-host'], announcement => writeAnnouncement(announcement, Buffer))
  const heartbeat = new Heartbeat<Connection>(chosen['messaging-heartbeat'] * 1000)

  function accept(socket: Socket, server: Server): void {
    const connection = new Connection(socket, {
      limits,
      idleTimeout: chosen['messaging-idle'] * 1000,
      headerTimeout: chosen['messaging-header-timeout'] * 1000,
      requestId: client => void api.call(client, 'id').catch(() => {}),
      onRefused: (reason, remote) => limitedLog.add('warn', { remote }, `messaging peer refused: ${reason}`),
    })
    try {
      connection.attach(server).codec = codecs.framed
      heartbeat.add(connection)
      socket.once('close', () => heartbeat.remove(connection))
    } catch (error) {
      log.debug({ err: error, remote: connection.remote }, 'messaging peer not accepted')
      socket.destroy()
    }
  }

  function sessionOf(client: Client): Session {
    const existing = sessions.get(client)
    if (existing !== undefined) return existing
    const session = new Session(client, {
      handlers,
      codecs,
      limitedLog,
      onId: (session, id) => resumption?.known(session, id),
      maxCalls: chosen['messaging-max-calls'],
      maxTasks: chosen['messaging-max-work'],
      maxBytes: chosen['messaging-max-json'],
    })
    sessions.set(client, session)
    client.finish(() => session.tasks.idle())
    return session
  }

  /** Actions without a handler go on to later filters. */
  function handle(message: Messaging, session: Session, bytes: number): Awaitable<Verdict> {
    if (message.type === 'response') {
      if (!session.settle(message)) return session.client.drop('unexpected response')
      return DROP
    }
    // clever-show sends no request with this prefix.
    if (message.type === 'request' && message.name.startsWith(RESERVED)) session.supportsParts = true
    // A file waits until there is room for it, since its bytes arrive meanwhile.
    const isFile = message.type === 'message' && message.content !== undefined
    if (isFile ? session.tasks.isFull : session.tasks.shouldPause) {
      if (session.client.signal.aborted) return session.client.drop('client has gone')
      return session.tasks.room(session.client.signal).then(() => handle(message, session, bytes))
    }
    if (isFile) files.receive(message, session, bytes)
    else if (message.type === 'request' && message.name === FILE)
      session.tasks.start(() => files.serve(message, session, bytes), bytes)
    else if (!session.handle(message, bytes) && message.type === 'message') {
      const goesOn = session.pass(message)
      return isPromise(goesOn) ? goesOn.then(late => passed(message, late)) : passed(message, goesOn)
    }
    return DROP
  }

  function passed(action: Action, goesOn: boolean): Verdict {
    return goesOn ? codecs.plainOf(action) : DROP
  }

  return {
    connect(client: Client) {
      const { handshake } = client
      if (handshake === undefined || client.codec.name !== 'plain') return
      const found = Object.entries(SUBPROTOCOLS).find(([name]) => handshake.protocols.includes(name))
      if (found === undefined) return
      handshake.protocol = found[0]
      client.codec = codecs[found[1]]
    },

    open(client: Client) {
      if (!codecs.has(client.codec)) return
      const session = sessionOf(client)
      if (client.handshake !== undefined) session.supportsParts = client.codec !== codecs.textual
      if (client.transport === TRANSPORT && chosen['messaging-ask-id']) void session.requestId()
    },

    message(payload: Payload, client: Client, about: Message): Awaitable<Verdict> {
      if (!codecs.has(client.codec)) {
        // Messaging clients would get this action, so filters that check actions MUST see it.
        const action = reader.actionIn(payload)
        if (action !== undefined) about.messaging = action
        return
      }
      try {
        const message = reader.read(payload, client, about.messagingFrame)
        if (message === undefined) return
        if (message === IGNORED) return client.drop('unknown type of message')
        about.messaging = message
        return handle(message, sessionOf(client), Buffer.byteLength(payload))
      } catch (error) {
        if (!(error instanceof Malformed)) throw error
        limitedLog.add(
          'warn',
          { remote: client.remote, client: client.id },
          `messaging client refused: ${error.message}`,
        )
        return client.disconnect(error.closeCode, error.message)
      }
    },

    async disconnect(client: Client) {
      const session = sessions.get(client)
      if (session === undefined) return
      resumption?.left(session)
      // Before the wait: a handler that never ends must not keep the session.
      sessions.delete(client)
      await session.tasks.actionsDone
    },

    async start(server: Server) {
      await resumption?.start(server)
      if (listener === undefined) return
      const endpoint = await listener.listen(
        socket => accept(socket, server),
        error => limitedLog.add('error', { err: error }, 'messaging could not accept a connection'),
      )
      const url = listener.urlOf(endpoint)
      log.info({ url }, `messaging listens on ${url}`)
      await announce?.(endpoint)
    },

    ...(resumption && { retain: (topic: string) => resumption.retain(topic) }),

    ...(listener?.reload && { reload: listener.reload }),

    async stop() {
      heartbeat.stop()
      listener?.close()
      await files.close()
      await resumption?.stop()
    },
    api,
  }
}
