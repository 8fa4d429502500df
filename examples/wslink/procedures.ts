import { setTimeout as sleep } from 'node:timers/promises'
import type { Client, Host, OptionSpecs } from 'filtered-websocket'
import { PALETTES } from './globe/palettes.ts'
import { Globe } from './globe.ts'

export const uses = ['wslink']

export const options = {
  'procedures-fps': {
    type: 'number',
    default: 30,
    min: 1,
    max: 60,
    describe: 'Images per second, while there are subscribers',
  },
} as const satisfies OptionSpecs

/** Pixels at each side of an image: 1 MiB as RGBA. */
const SIZE = 512
const IMAGE = 'view.image'
const SETTINGS = 'view.settings'

interface Settings {
  readonly palette: string
  /** Turns per minute. */
  readonly speed: number
}

/** Procedures to call, and a globe whose images are published as raw pixels to all subscribers. */
export const setup = (host: Host<typeof options>) => {
  const wslink = host.use('wslink')
  const globe = new Globe(SIZE)
  const fps = host.options['procedures-fps']
  let settings: Settings = { palette: 'ocean', speed: 2 }
  let timer: NodeJS.Timeout | undefined

  /** Skips clients with two unsent images: a slow client gets fewer images, but not older ones. */
  const hasRoom = (client: Client) => client.buffered < 2 * globe.pixels.length

  function draw(): void {
    globe.turn((settings.speed * 2 * Math.PI) / 60 / fps, 0)
    globe.draw(settings.palette)
    let hasSubscribers = false
    const where = (_: unknown, client: Client) => {
      hasSubscribers = true
      return hasRoom(client)
    }
    const image = { width: SIZE, height: SIZE, pixels: wslink.attachment(globe.pixels) }
    wslink.publish(IMAGE, image, { where })
    if (!hasSubscribers) stop()
  }

  function begin(): void {
    timer ??= setInterval(draw, 1000 / fps)
  }

  function stop(): void {
    clearInterval(timer)
    timer = undefined
  }

  // Clients without a subscription get all topics.
  wslink.onConnect(begin)
  wslink.onSubscribe(topic => {
    if (topic === IMAGE) begin()
  })

  wslink.registerAll({
    demo: {
      add: (a: number, b: number) => a + b,
      fail: (why = 'no reason') => {
        throw new Error(why)
      },
      /** Yielded values are published to the caller as progress. */
      async *slow(seconds = 3) {
        const steps = 20
        for (let step = 1; step <= steps; step++) {
          await sleep((Math.min(seconds, 60) * 1000) / steps)
          yield step / steps
        }
        return `done in ${seconds} s`
      },
    },
    view: {
      settings: () => settings,
      /** Called with keyword arguments: the settings to change. */
      set(changed: Partial<Settings>) {
        settings = checked({ ...settings, ...changed })
        wslink.publish(SETTINGS, settings)
        return settings
      },
      /** Radians. */
      turn: (right: number, down: number) => globe.turn(angle(right), angle(down)),
    },
  })

  return { stop }
}

// Clients may send any value.

function angle(value: number): number {
  if (!Number.isFinite(value)) throw new RangeError(`an angle is a number, received ${value}`)
  return value
}

function checked({ palette, speed }: Settings): Settings {
  if (!Object.hasOwn(PALETTES, palette))
    throw new RangeError(`a palette is one of ${Object.keys(PALETTES).join(', ')}, received ${palette}`)
  if (typeof speed !== 'number' || !(Math.abs(speed) <= 20))
    throw new RangeError(`speed is a number from -20 to 20, in turns per minute, received ${speed}`)
  return { palette, speed }
}
