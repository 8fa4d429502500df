export {
  type Connection,
  type ConnectionEvents,
  type ConnectionState,
  type ConnectOptions,
  connect,
} from './connection.ts'
export type { Sendable } from './queue.ts'
export * from './topics.ts'
