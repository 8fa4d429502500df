declare const drop: unique symbol
/** The type of `DROP`: a symbol and nothing else. Not `unique symbol`, which TypeScript widens in what an async function returns. */
export type Drop = symbol & { readonly [drop]: true }

/** What a handler returns to end the chain. Registered in the process-wide symbol table: source, dist and a second installed copy agree on it. */
export const DROP = Symbol.for('filtered-websocket.drop') as Drop
