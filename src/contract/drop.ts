declare const drop: unique symbol
/** The type of `DROP`. Not `unique symbol`, which TypeScript widens to `symbol` in the return type of an async function. */
export type Drop = symbol & { readonly [drop]: true }

/**
 * A handler returns it to end the chain. Registered in the process-wide symbol table, so that source, dist and a second
 * installed copy share it.
 *
 * @example
 * export const message = payload => (payload === '' ? DROP : undefined)
 */
export const DROP = Symbol.for('filtered-websocket.drop') as Drop
