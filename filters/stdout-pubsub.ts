import type { ChannelEvent, Host } from 'filtered-websocket'

export const describe = 'Print each event of the storage channels to standard output'

/** Prints each event of the storage's channels as a line of JSON. */
export const setup = ({ stdout }: Host) => ({
  consumer: ({ channel, payload }: ChannelEvent) =>
    stdout.write(`--PUBSUB--\n${JSON.stringify({ type: 'message', channel, data: payload.toString() })}\n`),
})
