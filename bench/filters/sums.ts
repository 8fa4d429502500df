import type { Host } from 'filtered-websocket'

export const uses = ['messaging']

/** The request of bench/servers/socketio-sums.mjs. */
export const setup = (host: Host) =>
  host.use('messaging').request('add', (_client, [a, b]) => (a as number) + (b as number))
