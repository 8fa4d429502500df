import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { type ClientOptions, WebSocket } from 'ws'
import { Peer } from './peer.ts'

/** The response to a handshake; `peer` if it was accepted. */
export interface Upgrade {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  readonly peer: Peer | undefined
}

/** Sends a handshake and returns the response, accepted or refused. */
export async function upgrade(
  url: string,
  { protocols = [], ...options }: ClientOptions & { protocols?: string[] } = {},
): Promise<Upgrade> {
  const ws = new WebSocket(url, protocols, { perMessageDeflate: false, ...options })
  const peer = new Peer(ws)
  const upgraded = once(ws, 'upgrade') as Promise<[IncomingMessage]>
  const refused = once(ws, 'unexpected-response') as Promise<[unknown, IncomingMessage]>
  // The event that does not come rejects at the end of the other.
  for (const either of [upgraded, refused]) either.catch(() => {})
  const [response, isAccepted] = await Promise.race([
    upgraded.then(([response]) => [response, true] as const),
    refused.then(([, response]) => [response, false] as const),
  ])
  if (isAccepted) {
    if (ws.readyState !== WebSocket.OPEN) await once(ws, 'open')
    return { status: 101, headers: response.headers, body: '', peer }
  }
  let body = ''
  for await (const chunk of response) body += chunk
  ws.terminate()
  return { status: response.statusCode!, headers: response.headers, body, peer: undefined }
}

/** The HTTP status of the response to a handshake; the connection does not stay open. */
export async function upgradeStatus(url: string, options: ClientOptions = {}): Promise<number> {
  const { status, peer } = await upgrade(url, options)
  peer?.ws.terminate()
  return status
}
