import type { Client, Closed, Host } from 'filtered-websocket'

/** Logs how each client left; the other chains stay empty. */
export const setup = ({ log }: Host) => ({
  disconnect: ({ handshake }: Client, { code }: Closed) => log.info({ case: handshake?.headers['x-case'], code }),
})
