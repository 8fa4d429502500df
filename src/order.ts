import { checkCloseCode } from './close.ts'
import { FwsError, shown } from './errors.ts'
import type { Target } from './types.ts'

/** Which clients to disconnect, and how. Travels between nodes as JSON. */
export interface Order {
  readonly target: Target
  readonly code: number
  readonly reason: string
}

const TARGETS = ['id', 'sub', 'topic']

/**
 * The order, whoever gave it.
 *
 * @throws FwsError `ERR_STATE`: not exactly one target, or `ERR_CLOSE_CODE`.
 */
export function checkOrder({ target, code, reason }: Order): Order {
  const keys = Object.keys(target ?? {}) as (keyof Target)[]
  if (keys.length !== 1 || !TARGETS.includes(keys[0]!) || typeof target[keys[0]!] !== 'string')
    throw new FwsError('ERR_STATE', `disconnect() takes one of { id }, { sub }, { topic }, received ${shown(target)}`)
  checkCloseCode(code)
  return { target, code, reason: String(reason) }
}

/** An order as another node wrote it; `undefined`: not one that can be obeyed. */
export function readOrder(text: string): Order | undefined {
  try {
    return checkOrder(JSON.parse(text))
  } catch {
    return undefined
  }
}
