import type { Host } from 'filtered-websocket'

export const describe = 'Print the raw bytes of each connection to standard output'

/** Prints the bytes that every peer sends, handshakes included, as text. */
export const setup = ({ stdout }: Host) => ({
  data: (chunk: Buffer) => stdout.write(`--RAWDATA--\n${chunk}\n`),
})
