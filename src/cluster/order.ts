import type { Target } from '../contract/client.ts'
import { checkCloseCode, cutReason } from '../contract/close.ts'
import { FwsError, shown } from '../contract/errors.ts'

/** An order to disconnect clients, or to remove them from a topic. Sent between nodes as JSON. */
export type Order =
  | { readonly target: Target; readonly code: number; readonly reason: string }
  | { readonly target: Target; readonly leave: string }

const TARGETS = ['id', 'sub', 'topic', 'id,sub']

/**
 * Returns a checked copy: the order may be sent later.
 *
 * @throws FwsError `ERR_STATE` for a target of another form or a topic that is not a string, or `ERR_CLOSE_CODE`.
 */
export function checkOrder(order: Order): Order {
  const target = targetOf(order)
  if ('leave' in order) {
    const { leave } = order
    if (typeof leave !== 'string')
      throw new FwsError('ERR_STATE', `unsubscribe() takes a topic, received ${shown(leave)}`)
    return { target, leave }
  }
  const { code, reason = '' } = order
  checkCloseCode(code)
  return { target, code, reason: cutReason(String(reason)) }
}

/** Parses an order from another node; `undefined` if it is not valid. */
export function readOrder(text: string): Order | undefined {
  try {
    return checkOrder(JSON.parse(text))
  } catch {
    return undefined
  }
}

function targetOf(order: Order): Target {
  const fields = Object.entries(order.target ?? {})
  const kind = fields
    .map(([name]) => name)
    .sort()
    .join()
  if (TARGETS.includes(kind) && fields.every(([, value]) => typeof value === 'string'))
    return Object.fromEntries(fields) as unknown as Target
  const call = 'leave' in order ? 'unsubscribe' : 'disconnect'
  const message = `${call}() takes one of { id }, { sub }, { topic }, or { id, sub }, received ${shown(order.target)}`
  throw new FwsError('ERR_STATE', message)
}
