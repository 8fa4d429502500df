import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { FAILED, type Outcome } from '../chain/chain.ts'
import { DROP } from '../contract/drop.ts'
import type { Refusal } from '../contract/refusal.ts'
import { linger } from '../kit/linger.ts'

/** An answer without a body (RFC 9110, section 6.4.1). */
const NOT_MODIFIED = 304

export function refusal(status: number, reason?: string, headers?: Record<string, string>): Refusal {
  return { status, reason, headers }
}

/** What a connect chain's outcome means for the handshake; `undefined`: welcome. A failed filter is no refusal of its own. */
export function refusalOf(asked: Refusal | undefined, outcome: Outcome<unknown>): Refusal | undefined {
  if (outcome === FAILED) return refusal(500)
  return asked ?? (outcome === DROP ? refusal(403) : undefined)
}

/** Answers on a bare socket and closes it. */
export function answer(
  socket: Duplex,
  status: number,
  reason?: string,
  headers?: Readonly<Record<string, string>>,
): void {
  if (!socket.writable) {
    socket.destroy()
    return
  }
  const body = status === NOT_MODIFIED ? '' : `${reason ?? STATUS_CODES[status] ?? status}\n`
  const lines = Object.entries({
    Connection: 'close',
    ...(status !== NOT_MODIFIED && {
      'Content-Type': 'text/plain; charset=utf-8',
      'Content-Length': String(Buffer.byteLength(body)),
      'X-Content-Type-Options': 'nosniff',
    }),
    ...headers,
  }).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}\r\n${body}`)
  linger(socket)
}
