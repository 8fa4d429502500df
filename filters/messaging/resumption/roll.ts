import type { Client } from 'filtered-websocket'
import type { CallOptions } from 'filtered-websocket/kit'
import { globOf, matches } from '../rpc/glob.ts'
import type { Session } from '../rpc/session.ts'
import type { Args, Kwargs } from '../wire/message.ts'

/** What became of a call to one of many. `client`: `undefined` if it is on another node. */
export type Answer = { readonly client: Client | undefined; readonly id: string } & (
  | { readonly value: unknown; readonly error?: undefined }
  | { readonly error: unknown; readonly value?: undefined }
)

/** What many are asked. */
export interface Question {
  readonly name: string
  readonly args: Args
  readonly kwargs: Kwargs
}

/** Asks the clients of this node whose id a pattern stands for. None of the answers rejects. */
export function askAll(
  sessions: ReadonlyMap<Client, Session>,
  pattern: string,
  { name, args, kwargs }: Question,
  options: CallOptions,
): readonly { readonly id: string; readonly answer: Promise<Answer> }[] {
  const glob = globOf(pattern)
  const asked = [...sessions.values()].filter(({ client }) => matches(glob, idOf(client)))
  return asked.map(session => {
    const { client } = session
    const whose = { client, id: idOf(client) }
    const answer = session.call(name, args, kwargs, options).then(
      value => ({ ...whose, value }),
      error => ({ ...whose, error }),
    )
    return { id: whose.id, answer }
  })
}

function idOf({ state, id }: Client): string {
  return state.messaging?.id ?? id
}
