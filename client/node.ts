export type * from './client.ts'

import { BatchingSocket } from './batching-socket.ts'
import { type Connection, type ConnectOptions, connect as connectWith, type SocketClass } from './connection.ts'
import { connectTopics as connectTopicsWith, type Topics, type TopicsOptions } from './topics.ts'

// As in browsers, with the WebSocket of `ws`, as Node 20 has no WebSocket.
const WebSocket = BatchingSocket as unknown as SocketClass

export function connect(url: string | URL, options: ConnectOptions = {}): Connection {
  return connectWith(url, { WebSocket, ...options })
}

export function connectTopics(url: string | URL, options: TopicsOptions = {}): Topics {
  return connectTopicsWith(url, { WebSocket, ...options })
}
