import type { Audience, Server } from 'filtered-websocket'
import { FORMAT } from '../wire/codecs.ts'
import { type Action, frameOf } from '../wire/message.ts'
import { topicOf } from './topics.ts'

/** Sends an action to the messaging clients of every node, with the topic of the audience. */
export function broadcast(
  server: Server,
  action: Omit<Action, 'type' | 'topic'>,
  audience: Omit<Audience, 'format'> = {},
): void {
  server.broadcast(frameOf({ type: 'message', ...action, ...topicOf(audience) }), { ...audience, format: FORMAT })
}
