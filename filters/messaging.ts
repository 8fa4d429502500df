import type { Socket } from 'node:net'
import type { Awaitable, Client, Drop, Host, Message, Payload, Server, Verdict } from 'filtered-websocket'
import { Discovery } from './messaging/announce/discovery.ts'
import { Complaints } from './messaging/complaints.ts'
import { Files } from './messaging/files/files.ts'
import type { options } from './messaging/options.ts'
import { Resumption } from './messaging/resumption/resumption.ts'
import { apiOf, type MessagingApi } from './messaging/rpc/api.ts'
import { Handlers, OWN } from './messaging/rpc/handlers.ts'
import { Session } from './messaging/rpc/session.ts'
import { offerTopics } from './messaging/rpc/topics.ts'
import { isPromise } from './messaging/rpc/work.ts'
import { Clock, tellTime } from './messaging/time/clock.ts'
import { NtpSync } from './messaging/time/ntp-sync.ts'
import { Connection } from './messaging/transport/connection.ts'
import { Heartbeat } from './messaging/transport/heartbeat.ts'
import { Listener } from './messaging/transport/listener.ts'
import { Codecs } from './messaging/wire/codecs.ts'
import { Malformed } from './messaging/wire/malformed.ts'
import { type Action, FILE, type Messaging } from './messaging/wire/message.ts'
import { IGNORED, Reader } from './messaging/wire/reader.ts'

export const describe = 'Exchange actions, requests and files over WebSocket and TCP'

export { options } from './messaging/options.ts'
export type { RemotePeer } from './messaging/resumption/peers.ts'
export type { Answer } from './messaging/resumption/roll.ts'
export type { MessagingApi } from './messaging/rpc/api.ts'
export type { Delivery } from './messaging/rpc/handlers.ts'
export type { CallFailed, CallOptions } from './messaging/rpc/pending.ts'
export type { Measured } from './messaging/time/measured.ts'
export type { TimeApi } from './messaging/time/time-api.ts'
export type { Action, Args, Id, Kwargs, Messaging, Request, Response } from './messaging/wire/message.ts'

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

/** A file of 16 MiB in one frame, and its header. */
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
  const sessions = new Map<Client, Session>()
  // Over TCP it was asked when it came.
  const learnId = async (client: Client) => {
    if (client.transport !== TRANSPORT && chosen['messaging-ask-id']) await sessions.get(client)?.learnId()
  }
  const files = await Files.open(host, complaints, handlers, learnId)
  const clock = new Clock()
  tellTime(handlers, clock)
  const ntp = NtpSync.of(host, clock)
  const resumption = Resumption.of(host, handlers, sessions, complaints)
  const api = apiOf(handlers, sessions, files, { clock, ntp: ntp?.server }, resumption?.peers)
  const listener = Listener.of(host, complaints)
  const beat = chosen['messaging-heartbeat'] * 1000
  const heartbeat = new Heartbeat(beat, client => void api.call(client, 'id').catch(() => {}))
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
    const session = new Session(client, {
      handlers,
      codecs,
      complaints,
      ledger: resumption?.ledger,
      known: (session, id) => resumption?.known(session, id),
      maxCalls: chosen['messaging-max-calls'],
      maxWork: chosen['messaging-max-work'],
      maxBytes: chosen['messaging-max-json'],
    })
    sessions.set(client, session)
    client.finish(() => session.work.done())
    return session
  }

  /** Actions that nobody does go on to the filters that follow. */
  function hear(said: Messaging, session: Session, bytes: number): Awaitable<Verdict> {
    if (said.type === 'response') {
      if (!session.settle(said)) return session.client.drop('unexpected response')
      return DROP
    }
    // The original asks for nothing that begins so.
    if (said.type === 'request' && said.name.startsWith(OWN)) session.knowsParts = true
    // A file is not taken before there is room for it, as its bytes come meanwhile.
    const isPushed = said.type === 'message' && said.content !== undefined
    if (isPushed ? session.work.isFull : session.work.isCrowded) {
      if (session.client.signal.aborted) return session.client.drop('client has gone')
      return session.room().then(() => hear(said, session, bytes))
    }
    if (isPushed) files.hear(said, session, bytes)
    else if (said.type === 'request' && said.name === FILE)
      session.work.take(() => files.serve(said, session, bytes), bytes)
    else if (!session.take(said, bytes) && said.type === 'message') {
      const goesOn = session.pass(said)
      return isPromise(goesOn) ? goesOn.then(late => passed(said, late)) : passed(said, goesOn)
    }
    return DROP
  }

  function passed(said: Action, goesOn: boolean): Verdict {
    return goesOn ? codecs.plainOf(said) : DROP
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
      const session = sessions.get(client)
      if (session === undefined) return
      resumption?.left(session)
      // At once: a handler that never ends must not keep it.
      sessions.delete(client)
      await session.work.actionsDone
    },

    async start(server: Server) {
      ntp?.ask()
      await resumption?.start()
      if (listener === undefined) return
      const endpoint = await listener.listen(
        socket => take(socket, server),
        error => complaints.add('error', { err: error }, 'messaging could not take a connection'),
      )
      const url = listener.urlOf(endpoint)
      log.info({ url }, `messaging listens on ${url}`)
      if (beat > 0) host.every(beat, () => heartbeat.beat())
      await discovery?.start(server, endpoint)
    },

    ...(listener?.reload && { reload: listener.reload }),

    async stop() {
      ntp?.close()
      discovery?.close()
      listener?.close()
      await files.close()
      await resumption?.stop()
    },
    api,
  }
}
