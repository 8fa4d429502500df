import { STATUS_CODES, validateHeaderName, validateHeaderValue } from 'node:http'
import type { Duplex } from 'node:stream'
import { FAILED, type Outcome } from '../chain/chain.ts'
import { DROP } from '../contract/drop.ts'
import { FwsError, messageOf } from '../contract/errors.ts'
import { linger } from '../kit/linger.ts'

/** An answer without a body (RFC 9110, section 6.4.1). */
const NOT_MODIFIED = 304

/** An HTTP answer in place of 101. */
export interface Refusal {
  readonly status: number
  readonly reason: string | undefined
  readonly headers: Readonly<Record<string, string>> | undefined
}

export function refusal(status: number, reason?: string, headers?: Record<string, string>): Refusal {
  return { status, reason, headers }
}

/**
 * What a filter asked for.
 *
 * @throws FwsError `ERR_STATE`: no status that refuses, or headers that cannot be written or would be taken for several.
 */
export function checkRefusal({ status, headers = {} }: Refusal): void {
  if (!Number.isInteger(status) || status < 300 || status > 599)
    throw new FwsError('ERR_STATE', `refuse() takes an HTTP status from 300 to 599, received ${status}`)
  for (const [name, value] of Object.entries(headers)) {
    try {
      validateHeaderName(name)
      validateHeaderValue(name, value)
    } catch (error) {
      throw new FwsError('ERR_STATE', `refuse() takes headers as HTTP has them: ${messageOf(error)}`, error)
    }
  }
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
