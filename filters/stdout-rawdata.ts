import type { Host } from 'filtered-websocket'

export const describe = 'Print the raw bytes of each connection to standard output'

/** Prints the received bytes of each connection as text, handshakes included. */
export const setup = ({ stdout }: Host) => ({
  data: (chunk: Buffer) => stdout.write(`--RAWDATA--\n${chunk}\n`),
})
