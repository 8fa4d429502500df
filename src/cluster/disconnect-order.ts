import type { Target } from '../contract/client.ts'
import { checkCloseCode, cutReason } from '../contract/close.ts'
import { FwsError, shown } from '../contract/errors.ts'

/** Which clients to disconnect, and how. Travels between nodes as JSON. */
export interface Order {
  readonly target: Target
  readonly code: number
  readonly reason: string
}

const TARGETS = ['id', 'sub', 'topic']

/**
 * The order, as a copy of its own: it may be sent later.
 *
 * @throws FwsError `ERR_STATE`: not exactly one target, or `ERR_CLOSE_CODE`.
 */
export function checkOrder({ target, code, reason = '' }: Order): Order {
  const [[kind = '', value] = [], ...more] = Object.entries(target ?? {})
  if (more.length > 0 || !TARGETS.includes(kind) || typeof value !== 'string')
    throw new FwsError('ERR_STATE', `disconnect() takes one of { id }, { sub }, { topic }, received ${shown(target)}`)
  checkCloseCode(code)
  return { target: { [kind]: value } as unknown as Target, code, reason: cutReason(String(reason)) }
}

/** An order as another node wrote it; `undefined`: not one that can be obeyed. */
export function readOrder(text: string): Order | undefined {
  try {
    return checkOrder(JSON.parse(text))
  } catch {
    return undefined
  }
}
