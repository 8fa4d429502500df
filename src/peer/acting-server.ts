import type { Permits } from '../chain/permits.ts'
import type {
  Access,
  AppendOptions,
  Audience,
  Client,
  PublishOptions,
  Server,
  TrustedSource,
} from '../contract/client.ts'
import type { Drop } from '../contract/drop.ts'
import { FwsError, shown } from '../contract/errors.ts'
import type { Payload } from '../contract/payload.ts'
import {
  type AppendOutcome,
  EVERYONE,
  type NewEntry,
  type Position,
  type ReadRange,
  type StreamPage,
} from '../contract/streams.ts'
import { ServerView } from './server-view.ts'

/**
 * The server as the filters of one client see it where there are permits: a broadcast through it is the client's own, and
 * needs permission. A filter that has the server from elsewhere broadcasts for the server.
 */
export class ActingServer extends ServerView {
  readonly #permits: Permits
  readonly #client: Client

  constructor(server: Server, permits: Permits, client: Client) {
    super(server)
    this.#permits = permits
    this.#client = client
  }

  /** @throws FwsError `ERR_FORBIDDEN`: the client may not publish there. */
  override broadcast(payload: Payload, to: Audience = {}): void {
    this.#check('publish', to.topic)
    super.broadcast(payload, to)
  }

  /** @throws (rejects) FwsError `ERR_FORBIDDEN`: the client may not publish there. */
  override async append(
    topic: string,
    entries: Payload | readonly NewEntry[],
    how?: AppendOptions,
  ): Promise<AppendOutcome> {
    this.#check('publish', topic)
    return super.append(topic, entries, how)
  }

  /** @throws (rejects) FwsError `ERR_FORBIDDEN`: the client may not publish there. */
  override async publishTo(
    topic: string,
    payload: Payload,
    how?: PublishOptions,
  ): Promise<Position | Drop | undefined> {
    this.#check('publish', topic)
    return super.publishTo(topic, payload, how)
  }

  /** @throws (rejects) FwsError `ERR_FORBIDDEN`: the client may not read there. */
  override async read(topic: string, range: ReadRange): Promise<StreamPage> {
    this.#check('read', topic)
    return super.read(topic, range)
  }

  /** @throws FwsError `ERR_FORBIDDEN`: it would not end when the client loses its rights. */
  override watch(topic: string): never {
    const message = `client.server does not watch topics, received ${shown(topic)}; use the server that start() gets`
    throw new FwsError('ERR_FORBIDDEN', message)
  }

  #check(action: Access['action'], topic: string | undefined): void {
    this.#permits.check({ action, topic: topic === EVERYONE ? undefined : topic }, this.#client)
  }
}

/** The server as the filters of a source see it, which carries out the broadcasts itself. */
export class SourceServer extends ServerView {
  override readonly broadcast: (payload: Payload, to?: Audience) => void

  constructor(server: Server, broadcast: NonNullable<TrustedSource['broadcast']>) {
    super(server)
    this.broadcast = (payload, to = {}) => broadcast(payload, to)
  }
}
