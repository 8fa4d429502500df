import type { Duplex } from 'node:stream'
import { type RawData, WebSocket } from 'ws'
import type { Transport } from '../contract/transport.ts'
import type { ServerClient } from '../peer/client.ts'

/** A socket or a tap; `isHeld` while a data filter pauses it. */
export type ByteStream = Duplex & { readonly bytesRead: number; readonly isHeld?: boolean }

/** A `ws` socket that flushes the queued messages of its client before a Close frame, whichever side closes. */
export class ClientSocket extends WebSocket {
  client: ServerClient | undefined
  stream: ByteStream | undefined
  /** Bytes read by the last ping; -1 before the first. */
  bytesAtPing = -1
  /** Its group in the heartbeat. */
  pinged: Set<ClientSocket> | undefined
  /** Close code of the first Close frame that was sent. */
  sentCode: number | undefined

  override close(code?: number, reason?: string | Buffer): void {
    if (this.readyState === WebSocket.OPEN) {
      this.sentCode = code
      this.client?.peerCloses()
    }
    super.close(code, reason)
  }
}

/** The WebSocket transport of a client. */
export class WebSocketTransport implements Transport {
  readonly name = 'websocket'
  readonly remote: string
  readonly socket: Duplex
  readonly frame: Transport['frame']
  readonly #ws: ClientSocket

  constructor(ws: ClientSocket, socket: Duplex, remote: string, frame: Transport['frame']) {
    this.#ws = ws
    this.socket = socket
    this.remote = remote
    this.frame = frame
  }

  pause(): void {
    this.#ws.pause()
  }
  resume(): void {
    this.#ws.resume()
  }
  close(code: number, reason: string): void {
    this.#ws.close(code, reason)
  }
  destroy(): void {
    this.#ws.terminate()
  }
}

/** Connects a socket to its client after the handshake. All sockets share the listeners: no closure per socket. */
export function bind(ws: ClientSocket, client: ServerClient, socket: ByteStream, frame: Transport['frame']): void {
  ws.client = client
  ws.stream = socket
  ws.on('message', onMessage)
  ws.on('error', onError)
  ws.on('close', onClose)
  client.open(new WebSocketTransport(ws, socket, client.remote, frame))
}

function onMessage(this: WebSocket, data: RawData, isBinary: boolean): void {
  // With the default binaryType, nodebuffer, always one Buffer.
  ;(this as ClientSocket).client!.receive(isBinary ? (data as Buffer) : (data as Buffer).toString())
}

/** An invalid frame: ws closes with 1002, 1007, 1008 or 1009, and `onClose` follows. */
function onError(this: WebSocket, error: Error): void {
  const { client } = this as ClientSocket
  client!.hub.log.debug({ client: client!.id, err: error }, 'bad frame')
}

function onClose(this: WebSocket, code: number, reason: Buffer): void {
  const ws = this as ClientSocket
  const { client, sentCode } = ws
  ws.pinged?.delete(ws)
  const clean = code !== 1006
  client!.closed(clean ? code : (sentCode ?? code), reason.toString(), clean)
}
