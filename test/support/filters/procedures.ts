import type { Host } from 'filtered-websocket'
import type {} from '../../../filters/wslink.ts'

export const uses = ['wslink']

/** What clients that send nonsense may reach. */
export const setup = (host: Host) => {
  const wslink = host.use('wslink')
  wslink.registerAll({
    demo: {
      inside: () => 'only for those who are let in',
      echo: (...all: unknown[]) => all,
      say: (topic: string, data: unknown) => wslink.publish(topic, data),
      later: () => new Promise(resolve => setTimeout(resolve, 20)),
      async *count() {
        for (let i = 0; i < 3; i++) yield i
      },
    },
  })
}
