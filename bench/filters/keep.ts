/** Keeps all topics, with the defaults. */
export const retain = () => ({ size: 1000, ttlMs: 300_000, full: 'trim' })
