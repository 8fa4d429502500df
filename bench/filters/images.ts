import type { Host } from 'filtered-websocket'
import type {} from '../../filters/wslink.ts'

export const uses = ['wslink']

const IMAGE = 1_000_000
const HERTZ = 30

/** Publishes images of 1 MB, each with the time in its first 8 bytes. */
export const setup = (host: Host) => {
  const wslink = host.use('wslink')
  let timer: NodeJS.Timeout | undefined
  return {
    start: () => {
      timer = setInterval(() => {
        const image = Buffer.alloc(IMAGE)
        image.writeDoubleBE(Date.now())
        wslink.publish('image', image)
      }, 1000 / HERTZ)
    },
    stop: () => clearInterval(timer),
  }
}
