import type { Audience, Client } from 'filtered-websocket'
import { shown } from '../../../protocols/clever-show/malformed.ts'
import { MAX_TEXT } from '../../../protocols/clever-show/message.ts'
import type { Args, Extras } from '../wire/message.ts'
import { globOf, matches } from './glob.ts'
import type { Handlers } from './handlers.ts'
import { Refused } from './refused.ts'

/** Topics of one client. */
const MAX_TOPICS = 1000

/**
 * Lets clients join and leave topics by themselves: requests `fws.subscribe` and `fws.unsubscribe`, of one topic each.
 *
 * @param allowed - patterns with `*` and `?`. What guards say of topics holds as well.
 */
export function offerTopics(handlers: Handlers, allowed: readonly string[]): void {
  const globs = allowed.map(globOf)

  function allowedIn([topic]: Args): string {
    if (typeof topic !== 'string' || topic === '' || topic.length > MAX_TEXT)
      throw new Refused('invalid', `a topic is a text of 1 to ${MAX_TEXT} characters, received ${shown(topic)}`)
    if (!globs.some(glob => matches(glob, topic)))
      throw new Refused('forbidden', `topic ${shown(topic)} is not one of --messaging-topics`)
    return topic
  }

  handlers.own('fws.subscribe', (client, args) => join(client, allowedIn(args)))
  handlers.own('fws.unsubscribe', (client, args) => client.leave(allowedIn(args)))
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

/** By which topic an action goes out; nobody has subscribed by one that is no text for a header. */
export function topicOf({ topic = '' }: Pick<Audience, 'topic'>): Pick<Extras, 'topic'> {
  return topic !== '' && topic.length <= MAX_TEXT ? { topic } : {}
}
