import type { HandlerCall } from '../contract/observer.ts'
import type { Payload } from '../contract/payload.ts'

/**
 * Fields of a call of a handler, for a line of a trace; `us` is its time in microseconds.
 *
 * @param shown - the fields of a payload.
 * @example
 * server.observe(call => console.log(JSON.stringify(traceFields(call, payloadField))))
 * // {"client":"ann","chain":"message","filter":"json","place":3,"verdict":"pass","us":4.5,"before":{"data":"{}"}}
 */
export function traceFields(
  { client, chain, filter, order, verdict, nanoseconds, before, after }: HandlerCall,
  shown: (payload: Payload) => object,
): object {
  return {
    client,
    chain,
    filter,
    place: order + 1,
    verdict,
    us: Math.round(nanoseconds / 100) / 10,
    before: before === undefined ? undefined : shown(before),
    after: verdict === 'rewrite' && after !== undefined ? shown(after) : undefined,
  }
}
