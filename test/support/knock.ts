import { once } from 'node:events'
import type { IncomingHttpHeaders, IncomingMessage } from 'node:http'
import { WebSocket } from 'ws'
import { Peer } from './peer.ts'

/** How a handshake was answered; `peer`: it was let in. */
export interface Answered {
  readonly status: number
  readonly headers: IncomingHttpHeaders
  readonly body: string
  readonly peer: Peer | undefined
}

/** Tries a handshake and tells the whole answer. */
export async function knock(
  url: string,
  { headers = {}, protocols = [] }: { headers?: Record<string, string>; protocols?: string[] } = {},
): Promise<Answered> {
  const ws = new WebSocket(url, protocols, { headers, perMessageDeflate: false })
  const peer = new Peer(ws)
  const upgraded = once(ws, 'upgrade') as Promise<[IncomingMessage]>
  const refused = once(ws, 'unexpected-response') as Promise<[unknown, IncomingMessage]>
  // The one that does not come rejects with the other's end.
  for (const either of [upgraded, refused]) either.catch(() => {})
  const [answer, isIn] = await Promise.race([
    upgraded.then(([response]) => [response, true] as const),
    refused.then(([, response]) => [response, false] as const),
  ])
  if (isIn) {
    if (ws.readyState !== WebSocket.OPEN) await once(ws, 'open')
    return { status: 101, headers: answer.headers, body: '', peer }
  }
  let body = ''
  for await (const chunk of answer) body += chunk
  ws.terminate()
  return { status: answer.statusCode!, headers: answer.headers, body, peer: undefined }
}
