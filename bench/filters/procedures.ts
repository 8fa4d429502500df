import type { Host } from 'filtered-websocket'

export const uses = ['wslink']

/** The procedures of bench/servers/wslink-original.py. */
export const setup = (host: Host) => {
  const wslink = host.use('wslink')
  const image = Buffer.alloc(1_000_000)
  wslink.register('demo.add', (a: number, b: number) => a + b)
  wslink.register('demo.image', () => wslink.attachment(image))
}
