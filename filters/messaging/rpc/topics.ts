import type { Audience, Client, Server } from 'filtered-websocket'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import { MAX_TEXT } from '../../../protocols/clever-show/message.ts'
import { FORMAT } from '../wire/codecs.ts'
import { type Action, type Args, type Extras, frameOf } from '../wire/message.ts'
import { globOf, matches } from './glob.ts'
import { type Handlers, Refused } from './handlers.ts'

/** Topics of one client. */
const MAX_TOPICS = 1000

/**
 * Adds the requests `fws.subscribe` and `fws.unsubscribe`, by which clients join and leave a topic.
 *
 * @param allowed - patterns of topics, with `*` and `?`. Guards may forbid further topics.
 */
export function offerTopics(handlers: Handlers, allowed: readonly string[]): void {
  const globs = allowed.map(globOf)

  function allowedIn([topic]: Args): string {
    if (typeof topic !== 'string' || topic === '' || topic.length > MAX_TEXT)
      throw new Refused('invalid', `a topic is a string of 1 to ${MAX_TEXT} characters, received ${shown(topic)}`)
    // Topics that begin with @ belong to filters.
    const isAllowed = (glob: string) => (glob.startsWith('@') || !topic.startsWith('@')) && matches(glob, topic)
    if (!globs.some(isAllowed)) throw new Refused('forbidden', `topic ${shown(topic)} is not one of --messaging-topics`)
    return topic
  }

  handlers.builtIn('fws.subscribe', (client, args) => join(client, allowedIn(args)))
  handlers.builtIn('fws.unsubscribe', (client, args) => client.leave(allowedIn(args)))
}

function join(client: Client, topic: string): void {
  if (client.topics.size >= MAX_TOPICS && !client.topics.has(topic))
    throw new Refused('full', `a client has at most ${MAX_TOPICS} topics; leave one`)
  try {
    client.join(topic)
  } catch (error) {
    const { code, message } = error as Error & { code?: unknown }
    throw code === 'ERR_FORBIDDEN' ? new Refused('forbidden', message) : error
  }
}

/** Sends an action to the messaging clients of every node, with the topic of the audience. */
export function broadcast(
  server: Server,
  action: Omit<Action, 'type' | 'topic'>,
  audience: Omit<Audience, 'format'> = {},
): void {
  server.broadcast(frameOf({ type: 'message', ...action, ...topicOf(audience) }), { ...audience, format: FORMAT })
}

/** The topic of a broadcast as the field of an action; `{}` if a header cannot carry it, since no client can subscribe to it. */
function topicOf({ topic = '' }: Pick<Audience, 'topic'>): Pick<Extras, 'topic'> {
  return topic !== '' && topic.length <= MAX_TEXT ? { topic } : {}
}
