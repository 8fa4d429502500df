import type { Client } from 'filtered-websocket'
import type { CallOptions } from 'filtered-websocket/kit'
import type { Args, Kwargs } from '../wire/message.ts'
import { globOf, matches } from './glob.ts'
import type { Session } from './session.ts'

/** The outcome of a call to one of many clients. `client`: `undefined` if it is on another node. */
export type Answer = { readonly client: Client | undefined; readonly id: string } & (
  | { readonly value: unknown; readonly error?: undefined }
  | { readonly error: unknown; readonly value?: undefined }
)

/** A request to many clients. */
export interface Question {
  readonly name: string
  readonly args: Args
  readonly kwargs: Kwargs
}

/** A client that was asked. */
export interface Asked {
  readonly id: string
  /** Never rejects. */
  readonly answer: Promise<Answer>
}

/** Asks the clients of this node whose id matches a pattern. */
export function askClients(
  sessions: ReadonlyMap<Client, Session>,
  pattern: string,
  { name, args, kwargs }: Question,
  options: CallOptions,
): readonly Asked[] {
  const glob = globOf(pattern)
  const asked = [...sessions.values()].filter(({ client }) => matches(glob, idOf(client)))
  return asked.map(session => {
    const { client } = session
    const callee = { client, id: idOf(client) }
    const answer = session.call(name, args, kwargs, options).then(
      value => ({ ...callee, value }),
      error => ({ ...callee, error }),
    )
    return { id: callee.id, answer }
  })
}

function idOf({ state, id }: Client): string {
  return state.messaging?.id ?? id
}
