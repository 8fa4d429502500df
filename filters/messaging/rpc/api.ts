import type { Audience, Client, Server } from 'filtered-websocket'
import type { FilesApi } from '../files/api.ts'
import type { Files } from '../files/files.ts'
import type { Peers, RemotePeer } from '../resumption/peers.ts'
import { type Answer, askAll } from '../resumption/roll.ts'
import { type Time, type TimeApi, timeApiOf } from '../time/time-api.ts'
import type { Args, Kwargs } from '../wire/message.ts'
import { broadcast } from './broadcast.ts'
import type { ActionHandler, Handlers, IdHandler, RequestHandler } from './handlers.ts'
import { CallFailed, type CallOptions, gone } from './pending.ts'
import { MAX_ID, type Session } from './session.ts'

/** What `host.use('messaging')` gives. */
export interface MessagingApi extends FilesApi, TimeApi {
  /**
   * What to do when a client says an action, before the server starts. Actions of a client are done one after the other;
   * those that somebody does reach no later filter.
   */
  action(name: string, handler: ActionHandler): void
  /** What to answer, before the server starts. Begins when the actions before it are done; other requests do not wait. */
  request(name: string, handler: RequestHandler): void
  /** Hears which id each client says that it has. Nothing proves it. */
  onId(handler: IdHandler): void
  /**
   * Asks a client.
   *
   * @throws (rejects) CallFailed, or the signal's reason.
   */
  call(client: Client, name: string, args?: Args, kwargs?: Kwargs, options?: CallOptions): Promise<unknown>
  /**
   * Asks the messaging clients whose id, or the core's if they have said none, a pattern with `*` and `?` stands for: those of
   * this node, and with `--messaging-resume` those of every node. Never rejects.
   */
  callAll(
    pattern: string,
    name: string,
    args?: Args,
    kwargs?: Kwargs,
    options?: CallOptions,
  ): Promise<readonly Answer[]>
  /**
   * A peer by its id, wherever and whenever it is there.
   *
   * @throws TypeError for what is no id; CallFailed `off` without `--messaging-resume`.
   */
  peer(id: string): RemotePeer
  /** Tells a client to do something; one that is no messaging client gets nothing. */
  emit(client: Client, action: string, args?: Args, kwargs?: Kwargs): void
  /** The same to the messaging clients of every node, with the topic of the audience. What a client says goes through its own `client.server`. */
  broadcast(server: Server, action: string, args?: Args, kwargs?: Kwargs, audience?: Omit<Audience, 'format'>): void
}

/**
 * @param sessions - of the messaging clients, as they come and go.
 * @param peers - of all nodes, if something is kept for them.
 */
export function apiOf(
  handlers: Handlers,
  sessions: ReadonlyMap<Client, Session>,
  files: Files,
  time: Time,
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
    if (session === undefined && client.signal.aborted) throw gone(client.id, name)
    if (session === undefined) throw new CallFailed('none', `client ${client.id} is no messaging client`)
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
      return Promise.all(askAll(sessions, pattern, question, options).map(({ answer }) => answer))
    },
    peer(id) {
      if (typeof id !== 'string' || id === '' || id.length > MAX_ID)
        throw new TypeError(`the id of a peer is a text of 1 to ${MAX_ID} characters, received ${JSON.stringify(id)}`)
      if (peers === undefined) throw new CallFailed('off', 'peer() needs --messaging-resume, which is not given')
      return peers.of(id)
    },
    emit: (client, name, args = [], kwargs = {}) => sessions.get(client)?.send({ type: 'message', name, args, kwargs }),
    broadcast: (server, name, args = [], kwargs = {}, audience) => broadcast(server, { name, args, kwargs }, audience),
    ...timeApiOf(time, call),
  }
}
