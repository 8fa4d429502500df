import type { Response } from '../../filters/messaging/wire/message.ts'
import { Peer, until } from './peer.ts'

export { gate } from './gate.ts'

/** A message of a page, as JSON text states it. */
export type Said = Readonly<Record<string, unknown>>

/** A page that uses JSON text, with or without an id. */
export class Browser {
  readonly peer: Peer

  constructor(peer: Peer) {
    this.peer = peer
  }

  static async open(url: string): Promise<Browser> {
    return new Browser(await Peer.open(url, {}, ['messaging']))
  }

  say(message: object): void {
    this.peer.send(JSON.stringify(message))
  }

  get heard(): readonly Said[] {
    return this.peer.received.map(text => JSON.parse(String(text)))
  }

  /** Received actions and requests. */
  get tasks(): readonly Said[] {
    return this.heard.filter(said => !('response' in said))
  }

  /** Values or errors of responses, by id. */
  get answers(): Readonly<Record<string, unknown>> {
    return Object.fromEntries(
      this.heard.filter(said => 'response' in said).map(({ id, value, error }) => [id, error ?? value]),
    )
  }

  /** The first so many actions and requests. Waits for them. */
  async todo(count: number): Promise<readonly Said[]> {
    await until(() => this.tasks.length >= count, `${count} tasks, got ${JSON.stringify(this.tasks)}`)
    return this.tasks
  }

  /** Answers a request or an action. */
  answer({ action, request, id }: Said, value: unknown = null, error?: Response['error']): void {
    this.say({ response: action ?? request, id, ...(error === undefined ? { value } : { error }) })
  }

  async resume(id = 'copter1', epoch = 'e'): Promise<void> {
    this.say({ request: 'fws.resume', id: 'resume', kwargs: { id, epoch } })
    await until(() => 'resume' in this.answers, 'to be known')
  }

  /** Settles when the server has read all messages so far. */
  async read(): Promise<void> {
    const count = this.heard.filter(({ response }) => response === 'read').length
    this.say({ request: 'read', id: 'read' })
    await until(() => this.heard.filter(({ response }) => response === 'read').length > count, 'to be read')
  }

  /** Ends the connection without a close frame. */
  async drop(): Promise<void> {
    this.peer.ws.terminate()
    await this.peer.end()
  }
}
