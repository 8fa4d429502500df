import { STATUS_CODES } from 'node:http'
import type { Duplex } from 'node:stream'
import { FAILED, type Outcome } from '../chain/chain.ts'
import { DROP } from '../contract/drop.ts'
import type { Refusal } from '../contract/refusal.ts'
import { linger } from '../kit/linger.ts'
import { lineFields } from '../kit/respond.ts'

export function refusal(status: number, reason?: string, headers?: Record<string, string>): Refusal {
  return { status, reason, headers }
}

/**
 * The refusal of a request after the connect chain; `undefined` if it is accepted. A failed filter is 500.
 *
 * @param requested - arguments of `client.refuse()`.
 */
export function refusalOf(requested: Refusal | undefined, outcome: Outcome<unknown>): Refusal | undefined {
  if (outcome === FAILED) return refusal(500)
  return requested ?? (outcome === DROP ? refusal(403) : undefined)
}

/** Writes an HTTP response to a socket and closes it. */
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
  const { headers: fields, body } = lineFields(status, reason, headers)
  const lines = Object.entries({ Connection: 'close', ...fields }).map(([name, value]) => `${name}: ${value}\r\n`)
  socket.write(`HTTP/1.1 ${status} ${STATUS_CODES[status] ?? ''}\r\n${lines.join('')}\r\n${body}`)
  linger(socket)
}
