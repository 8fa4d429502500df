import type { Client, Host, Payload } from 'filtered-websocket'

export const describe = 'Print each message to standard output'

/** Prints each message with its sender's id. */
export const setup = ({ stdout }: Host) => ({
  message: (payload: Payload, client: Client) => stdout.write(`--MESSAGE--\n${client.id} => ${payload}\n`),
})
