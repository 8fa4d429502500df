/** Passes every message. */
export const message = () => undefined
