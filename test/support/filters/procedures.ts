import type { Host } from 'filtered-websocket'
import type {} from '../../../filters/wslink.ts'

export const uses = ['wslink']

/** Procedures for random messages. */
export const setup = (host: Host) => {
  const wslink = host.use('wslink')
  wslink.registerAll({
    demo: {
      inside: () => 'only for authenticated clients',
      echo: (...all: unknown[]) => all,
      say: (topic: string, data: unknown) => wslink.publish(topic, data),
      later: () => new Promise(resolve => setTimeout(resolve, 20)),
      async *count() {
        for (let i = 0; i < 3; i++) yield i
      },
    },
  })
}
