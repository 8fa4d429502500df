import type { Target } from '../contract/client.ts'
import { checkCloseCode, cutReason } from '../contract/close.ts'
import { FwsError, shown } from '../contract/errors.ts'

/** Which clients to disconnect, and how. Sent between nodes as JSON. */
export interface DisconnectOrder {
  readonly target: Target
  readonly code: number
  readonly reason: string
}

const TARGETS = ['id', 'sub', 'topic']

/**
 * Returns a checked copy: the order may be sent later.
 *
 * @throws FwsError `ERR_STATE` unless there is exactly one target, or `ERR_CLOSE_CODE`.
 */
export function checkOrder({ target, code, reason = '' }: DisconnectOrder): DisconnectOrder {
  const [[kind = '', value] = [], ...more] = Object.entries(target ?? {})
  if (more.length > 0 || !TARGETS.includes(kind) || typeof value !== 'string')
    throw new FwsError('ERR_STATE', `disconnect() takes one of { id }, { sub }, { topic }, received ${shown(target)}`)
  checkCloseCode(code)
  return { target: { [kind]: value } as unknown as Target, code, reason: cutReason(String(reason)) }
}

/** Parses an order from another node; `undefined` if it is not valid. */
export function readOrder(text: string): DisconnectOrder | undefined {
  try {
    return checkOrder(JSON.parse(text))
  } catch {
    return undefined
  }
}
