import type { ChannelEvent, Client, Closed, Host, OptionSpecs, Payload } from 'filtered-websocket'

export const describe = 'Log each open, message, event and disconnect'

export const options = {
  'log-max': {
    type: 'number',
    default: 200,
    min: 0,
    integer: true,
    describe: 'Logged characters of a text message; 0 logs none',
  },
} as const satisfies OptionSpecs

/** Logs one line per event, level info; of binary messages only the size. */
export const setup = ({ log, options: { 'log-max': max } }: Host<typeof options>) => {
  const about = (payload: Payload) => ({
    bytes: Buffer.byteLength(payload),
    ...(typeof payload === 'string' && max > 0 && { text: payload.slice(0, max) }),
  })
  return {
    open: ({ id, remote, transport }: Client) => log.info({ client: id, remote, transport }, 'open'),
    message: (payload: Payload, { id }: Client) => log.info({ client: id, ...about(payload) }, 'message'),
    disconnect: ({ id }: Client, { code, reason, clean }: Closed) =>
      log.info({ client: id, code, reason, clean }, 'disconnect'),
    consumer: ({ channel, payload }: ChannelEvent) => log.info({ channel, ...about(payload) }, 'event'),
  }
}
