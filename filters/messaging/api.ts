import type { Audience, Client, Server } from 'filtered-websocket'
import { broadcast } from './broadcast.ts'
import type { FilesApi } from './files/api.ts'
import type { Files } from './files.ts'
import { globOf, matches } from './glob.ts'
import type { ActionHandler, Handlers, IdHandler, RequestHandler } from './handlers.ts'
import type { Args, Kwargs } from './message.ts'
import { CallFailed, type CallOptions } from './pending.ts'
import type { Session } from './session.ts'
import { type Time, type TimeApi, timeApiOf } from './time-api.ts'

/** What became of a call to one of many. */
export type Answer = { readonly client: Client; readonly id: string } & (
  | { readonly value: unknown; readonly error?: undefined }
  | { readonly error: unknown; readonly value?: undefined }
)

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
  /** Asks the messaging clients of this node whose id, or the core's if they have said none, a pattern with `*` and `?` stands for. Never rejects. */
  callAll(
    pattern: string,
    name: string,
    args?: Args,
    kwargs?: Kwargs,
    options?: CallOptions,
  ): Promise<readonly Answer[]>
  /** Tells a client to do something; one that is no messaging client gets nothing. */
  emit(client: Client, action: string, args?: Args, kwargs?: Kwargs): void
  /** The same to the messaging clients of every node, with the topic of the audience. What a client says goes through its own `client.server`. */
  broadcast(server: Server, action: string, args?: Args, kwargs?: Kwargs, audience?: Omit<Audience, 'format'>): void
}

/** @param sessions - of the messaging clients, as they come and go. */
export function apiOf(
  handlers: Handlers,
  sessions: ReadonlyMap<Client, Session>,
  files: Files,
  time: Time,
): MessagingApi {
  async function call(
    client: Client,
    name: string,
    args: Args = [],
    kwargs: Kwargs = {},
    options?: CallOptions,
  ): Promise<unknown> {
    const session = sessions.get(client)
    if (session === undefined) throw new CallFailed('none', `client ${client.id} is no messaging client`)
    return session.call(name, args, kwargs, options)
  }

  return {
    ...files.api(sessions),
    action: (name, handler) => handlers.action(name, handler),
    request: (name, handler) => handlers.request(name, handler),
    onId: handler => void handlers.ids.push(handler),
    call,
    callAll(pattern, name, args, kwargs, options) {
      const glob = globOf(pattern)
      const asked = [...sessions.keys()].filter(client => matches(glob, idOf(client)))
      return Promise.all(
        asked.map(client => {
          const whose = { client, id: idOf(client) }
          return call(client, name, args, kwargs, options).then(
            value => ({ ...whose, value }),
            error => ({ ...whose, error }),
          )
        }),
      )
    },
    emit: (client, name, args = [], kwargs = {}) => sessions.get(client)?.send({ type: 'message', name, args, kwargs }),
    broadcast: (server, name, args = [], kwargs = {}, audience) => broadcast(server, { name, args, kwargs }, audience),
    ...timeApiOf(time, call),
  }
}

function idOf({ state, id }: Client): string {
  return state.messaging?.id ?? id
}
