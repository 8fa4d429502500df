import type { IncomingMessage, ServerResponse } from 'node:http'
import type { Access, Client, Drop, Host, OptionSpecs, Payload, Server } from 'filtered-websocket'
import {
  Heartbeat,
  inSlices,
  optionError,
  type Pattern,
  RateLimitedLog,
  readPattern,
  topicParts,
} from 'filtered-websocket/kit'
import { API_PATH, isApi, serverApi } from './centrifuge/api/api.ts'
import { checkKeys } from './centrifuge/api/key.ts'
import { Channels } from './centrifuge/channels.ts'
import { Codecs } from './centrifuge/codec.ts'
import { commandsOf, type Procedure } from './centrifuge/commands.ts'
import { memberCommands } from './centrifuge/members.ts'
import { Recoveries } from './centrifuge/recovery.ts'
import { type Service, Session } from './centrifuge/session.ts'
import { tokenReader } from './centrifuge/tokens.ts'

export const describe = 'Serve topics to the clients of Centrifugo, such as centrifuge-js'

export const mayUse = ['jwt', 'presence']

export const needs = ['values', 'sets', 'bus'] as const

const PATH = '/connection/websocket'
export const paths = [PATH]

export const options = {
  'centrifuge-publish': {
    type: 'boolean',
    default: false,
    describe:
      'Let clients publish, unless a guard forbids it. With guard allow its rules decide, also without this option',
  },
  'centrifuge-private': {
    type: 'array',
    separator: ' ',
    default: [],
    describe:
      'Patterns of topics, such as private:*, that clients of any protocol join only with a subscription token; needs jwt',
  },
  'centrifuge-channels': {
    type: 'number',
    default: 128,
    min: 1,
    max: 10_000,
    integer: true,
    describe: 'Subscriptions per client; further ones get error 106',
  },
  'centrifuge-ping': {
    type: 'number',
    default: 25,
    min: 0,
    max: 3600,
    describe: 'Seconds between pings; a client that does not answer one is closed with 3012. 0 disables them',
  },
  'centrifuge-api-key': {
    type: 'array',
    secret: true,
    default: [],
    describe:
      'Keys of the server API at /api, of 16 characters or more: two while one replaces the other. Default: no server API',
  },
} as const satisfies OptionSpecs

/** The api of `host.use('centrifuge')`. */
export interface CentrifugeApi {
  /**
   * Registers a procedure that clients call with `rpc(name, data)`. Its result is the data of the reply. An error whose `code` is a
   * number is sent to the client with its message. For other errors the client gets error 100, and the error is logged.
   *
   * @throws TypeError if the name is taken.
   * @example
   * host.use('centrifuge').rpc('add', ({ a, b }) => a + b)
   */
  rpc(name: string, procedure: Procedure): void
  /** Adds a handler for the data that clients send with `send(data)`; they get no reply. */
  onSend(handler: (data: unknown, client: Client) => void): void
}

declare module 'filtered-websocket' {
  interface FilterApis {
    centrifuge: CentrifugeApi
  }
}

/** The subprotocols of the clients that speak JSON and Protobuf. */
const JSON_PROTOCOL = 'centrifuge-json'
const PROTOBUF = 'centrifuge-protobuf'

/** Topics for clients of the Centrifugal client protocol, in JSON. Channels are topics of the same name. */
export const setup = ({ options: chosen, limits, guards, log, storage, every, find }: Host<typeof options>) => {
  const keys = checkKeys(chosen['centrifuge-api-key'])
  const jwt = find('jwt')
  const sessions = new Map<Client, Session>()
  const presence = find('presence')
  const channels = new Channels(presence)
  const codecs = new Codecs((channel, only) => channels.lost(channel, only))
  const procedures = new Map<string, Procedure>()
  const sendHandlers: ((data: unknown, client: Client) => void)[] = []
  const heartbeat = new Heartbeat<Session>(chosen['centrifuge-ping'] * 1000)
  const limitedLog = new RateLimitedLog(log)

  const mayPublish = chosen['centrifuge-publish'] || guards.includes('allow')
  const service: Service = {
    codecs,
    channels,
    recoveries: new Recoveries(),
    commands: { ...commandsOf({ mayPublish, procedures }), ...memberCommands(presence) },
    maxChannels: chosen['centrifuge-channels'],
    maxCommand: limits['max-payload'],
    ping: chosen['centrifuge-ping'],
    jwt,
    presence,
    onSend: (data, client) => {
      for (const handler of sendHandlers) handler(data, client)
    },
    onConnected: session => heartbeat.add(session),
    onError: (error, method) => limitedLog.add('error', { err: error, method }, 'a command failed'),
  }

  if (jwt !== undefined) {
    jwt.tokenIn(tokenReader(isOwn))
    every(1000, () => inSlices(sessions.values(), session => session.sweep(Date.now() / 1000)))
  }
  const isPrivate = chosen['centrifuge-private'].map(patternIn)
  if (isPrivate.length > 0 && jwt === undefined)
    throw optionError(
      '--centrifuge-private needs a guard that checks subscription tokens; put jwt before centrifuge in -f',
    )

  const api: CentrifugeApi = {
    rpc(name, procedure) {
      if (procedures.has(name))
        throw new TypeError(`rpc() takes a name without a procedure; "${name}" has one, choose another`)
      procedures.set(name, procedure)
    },
    onSend: handler => void sendHandlers.push(handler),
  }

  const forBackends = keys.length > 0 ? serverApi({ keys, limits, presence, storage, log, every }) : undefined

  return {
    paths: forBackends === undefined ? [] : [API_PATH],

    request: (req: IncomingMessage, res: ServerResponse, server: Server) =>
      isApi(req.url!) ? forBackends?.request(req, res, server) : undefined,

    connect(client: Client): Drop | undefined {
      const { handshake } = client
      if (handshake?.kind !== 'websocket') return client.refuse(400, 'this path is for WebSockets')
      if (isApi(handshake.url.pathname)) return client.refuse(405, 'this path is for POST requests', { Allow: 'POST' })
      const { protocols } = handshake
      if (protocols.includes(PROTOBUF) && !protocols.includes(JSON_PROTOCOL))
        return client.refuse(400, `${PROTOBUF} is not supported; use a client that speaks JSON`)
      client.codec = codecs.before
      client.hold()
      return undefined
    },

    open(client: Client): void {
      const session = new Session(client, service)
      sessions.set(client, session)
      client.onRemoved((topic, why) => session.removed(topic, why))
    },

    message: (payload: Payload, client: Client) => sessions.get(client)?.message(payload),

    disconnect(client: Client): void {
      const session = sessions.get(client)
      if (session === undefined) return
      sessions.delete(client)
      heartbeat.remove(session)
      session.close()
    },

    ...(isPrivate.length > 0 && {
      permit({ action, topic }: Access, client: Client): boolean {
        if (action === 'publish' || topic === undefined) return true
        const parts = topicParts(topic)
        return !isPrivate.some(matches => matches(parts)) || sessions.get(client)?.isProven(topic) === true
      },
    }),

    start: (server: Server) => forBackends?.start(server),

    stop() {
      heartbeat.stop()
      return forBackends?.stop()
    },

    api,
  }
}

/** Whether a client is connected to the path of this filter. */
function isOwn({ handshake }: Client): boolean {
  const path = handshake?.url.pathname ?? ''
  return path === PATH || path.startsWith(`${PATH}/`)
}

function patternIn(pattern: string): Pattern {
  try {
    return readPattern(pattern)
  } catch (error) {
    throw optionError(`--centrifuge-private: ${(error as Error).message}`)
  }
}
