/** What a handler returns to end the chain. Registered in the process-wide symbol table: source, dist and a second installed copy agree on it. */
export const DROP: unique symbol = Symbol.for('filtered-websocket.drop') as never
