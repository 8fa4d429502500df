import type { Response } from '../../filters/messaging/wire/message.ts'
import { Peer, until } from './peer.ts'

/** What a page says or hears, as the texts in JSON are. */
export type Said = Readonly<Record<string, unknown>>

/** A page that speaks messaging in texts, under an id if it is told to. */
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

  /** What it was told to do, or asked, so far. */
  get tasks(): readonly Said[] {
    return this.heard.filter(said => !('response' in said))
  }

  /** What came in place of a value or an error, by id. */
  get answers(): Readonly<Record<string, unknown>> {
    return Object.fromEntries(
      this.heard.filter(said => 'response' in said).map(({ id, value, error }) => [id, error ?? value]),
    )
  }

  /** The first so many tasks, as soon as they are there. */
  async todo(count: number): Promise<readonly Said[]> {
    await until(() => this.tasks.length >= count, `${count} tasks, got ${JSON.stringify(this.tasks)}`)
    return this.tasks
  }

  /** Answers a task. */
  answer({ action, request, id }: Said, value: unknown = null, error?: Response['error']): void {
    this.say({ response: action ?? request, id, ...(error === undefined ? { value } : { error }) })
  }

  async resume(id = 'copter1', epoch = 'e'): Promise<void> {
    this.say({ request: 'fws.resume', id: 'resume', kwargs: { id, epoch } })
    await until(() => 'resume' in this.answers, 'to be known')
  }

  /** Settles when the server has read what was said so far. */
  async read(): Promise<void> {
    const count = this.heard.filter(({ response }) => response === 'read').length
    this.say({ request: 'read', id: 'read' })
    await until(() => this.heard.filter(({ response }) => response === 'read').length > count, 'to be read')
  }

  /** As when its network is cut. */
  async drop(): Promise<void> {
    this.peer.ws.terminate()
    await this.peer.end()
  }
}

/** A promise, and how to settle it. */
export function gate(): { readonly opened: Promise<void>; open(): void } {
  let open = () => {}
  const opened = new Promise<void>(resolve => {
    open = resolve
  })
  return { opened, open: () => open() }
}
