import type { Client, Server } from 'filtered-websocket'
import type { NodeCalls, NodeRegistry } from 'filtered-websocket/kit'
import type { Session } from '../rpc/session.ts'
import type { Failure } from '../wire/message.ts'
import type { Queues } from './queues.ts'

/** The node to which peers are connected. */
export interface PeersContext {
  /** @throws FwsError `ERR_STATE` before the start. */
  readonly server: Server
  readonly registry: NodeRegistry
  readonly nodes: NodeCalls
  readonly queues: Queues
  /** Of the clients of this node. */
  readonly sessions: ReadonlyMap<Client, Session>
  /** Actions that a connection may have unanswered. */
  readonly window: number
  /** Calls of this node that may wait. */
  readonly maxCalls: number
  /** Called with the error that a peer has answered to an action. */
  refused(peer: string, name: string, why: Failure): void
  /** Called with the number of actions that have expired in the queue of a peer. */
  expired(peer: string, count: number): void
  /** Called with errors of the storage. */
  failed(error: unknown): void
}
