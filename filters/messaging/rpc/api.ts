import type { Audience, Client, Server } from 'filtered-websocket'
import type { ClockApi } from 'filtered-websocket/filters/clock'
import { CallFailed, type CallOptions } from 'filtered-websocket/kit'
import type { FilesApi } from '../files/api.ts'
import type { Files } from '../files/files.ts'
import type { Peers, RemotePeer } from '../peers/peers.ts'
import type { Args, Kwargs } from '../wire/message.ts'
import { type Answer, askClients } from './ask-clients.ts'
import { gone } from './client-calls.ts'
import type { ActionHandler, Handlers, IdHandler, RequestHandler } from './handlers.ts'
import { MAX_ID, type Session } from './session.ts'
import { type TimeApi, timeApiOf } from './time.ts'
import { broadcast } from './topics.ts'

/** The API of `host.use('messaging')`. */
export interface MessagingApi extends FilesApi, TimeApi {
  /**
   * Adds a handler of an action; to be called before the server starts. Actions of a client run one after the other.
   * Actions that have a handler do not reach later filters.
   */
  action(name: string, handler: ActionHandler): void
  /**
   * Sets the handler of a request; to be called before the server starts. It runs after the actions before it; requests run
   * concurrently.
   */
  request(name: string, handler: RequestHandler): void
  /** Adds a handler that is called with the id that a client sends. The id is not authenticated. */
  onId(handler: IdHandler): void
  /**
   * Sends a request to a client.
   *
   * @throws (rejects) CallFailed, or the signal's reason.
   * @example
   * const volts = await messaging.call(client, 'battery', [], {}, { timeout: 2000 })
   */
  call(client: Client, name: string, args?: Args, kwargs?: Kwargs, options?: CallOptions): Promise<unknown>
  /**
   * Sends a request to the messaging clients whose id, or the core's id if they have none, matches a pattern with `*` and
   * `?`: clients of this node, and with `--messaging-resume` of every node. Never rejects.
   */
  callAll(
    pattern: string,
    name: string,
    args?: Args,
    kwargs?: Kwargs,
    options?: CallOptions,
  ): Promise<readonly Answer[]>
  /**
   * A peer by its id, on any node, connected or not.
   *
   * @throws TypeError for an invalid id; CallFailed `off` without `--messaging-resume`.
   * @example
   * await messaging.peer('copter1').emit('land')
   */
  peer(id: string): RemotePeer
  /** Sends an action to a client; clients of other protocols do not get it. */
  emit(client: Client, action: string, args?: Args, kwargs?: Kwargs): void
  /**
   * Sends an action to the messaging clients of every node, with the topic of the audience. Use `client.server` to send on behalf of
   * a client.
   */
  broadcast(server: Server, action: string, args?: Args, kwargs?: Kwargs, audience?: Omit<Audience, 'format'>): void
}

/**
 * @param sessions - of the connected messaging clients.
 * @param peers - of all nodes, with `--messaging-resume`.
 */
export function apiOf(
  handlers: Handlers,
  sessions: ReadonlyMap<Client, Session>,
  files: Files,
  clock: ClockApi,
  peers: Peers | undefined,
): MessagingApi {
  async function call(
    client: Client,
    name: string,
    args: Args = [],
    kwargs: Kwargs = {},
    options?: CallOptions,
  ): Promise<unknown> {
    const session = sessions.get(client)
    if (session === undefined && client.signal.aborted) throw gone({ callee: `client ${client.id}`, name })
    if (session === undefined) throw new CallFailed('none', `client ${client.id} is not a messaging client`)
    return session.call(name, args, kwargs, options)
  }

  return {
    ...files.api(sessions),
    action: (name, handler) => handlers.action(name, handler),
    request: (name, handler) => handlers.request(name, handler),
    onId: handler => void handlers.ids.push(handler),
    call,
    callAll(pattern, name, args = [], kwargs = {}, options = {}) {
      const question = { name, args, kwargs }
      if (peers !== undefined) return peers.callAll(pattern, question, options)
      return Promise.all(askClients(sessions, pattern, question, options).map(({ answer }) => answer))
    },
    peer(id) {
      if (typeof id !== 'string' || id === '' || id.length > MAX_ID)
        throw new TypeError(`the id of a peer is a string of 1 to ${MAX_ID} characters, received ${JSON.stringify(id)}`)
      if (peers === undefined) throw new CallFailed('off', 'peer() needs --messaging-resume')
      return peers.remote(id)
    },
    emit: (client, name, args = [], kwargs = {}) => sessions.get(client)?.send({ type: 'message', name, args, kwargs }),
    broadcast: (server, name, args = [], kwargs = {}, audience) => broadcast(server, { name, args, kwargs }, audience),
    ...timeApiOf(clock, call),
  }
}
