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
    describe: 'images a second, while somebody listens',
  },
} as const satisfies OptionSpecs

/** Pixels at each side of an image: 1 MiB as RGBA. */
const SIZE = 512
const IMAGE = 'view.image'
const SETTINGS = 'view.settings'

interface Settings {
  readonly palette: string
  /** Turns a minute. */
  readonly speed: number
}

/** Procedures to call, and a globe that is drawn here and seen by everybody who listens, each image as raw pixels. */
export const setup = (host: Host<typeof options>) => {
  const wslink = host.use('wslink')
  const globe = new Globe(SIZE)
  const fps = host.options['procedures-fps']
  let settings: Settings = { palette: 'ocean', speed: 2 }
  let timer: NodeJS.Timeout | undefined

  /** A client to which two images are still on their way gets this one not: who is slow sees fewer, not older ones. */
  const hasRoom = (client: Client) => client.buffered < 2 * globe.pixels.length

  function draw(): void {
    globe.turn((settings.speed * 2 * Math.PI) / 60 / fps, 0)
    globe.draw(settings.palette)
    let isSeen = false
    const where = (_: unknown, client: Client) => {
      isSeen = true
      return hasRoom(client)
    }
    const image = { width: SIZE, height: SIZE, pixels: wslink.attachment(globe.pixels) }
    wslink.publish(IMAGE, image, { where })
    if (!isSeen) stop()
  }

  function begin(): void {
    timer ??= setInterval(draw, 1000 / fps)
  }

  function stop(): void {
    clearInterval(timer)
    timer = undefined
  }

  // Who never says what it listens to gets everything.
  wslink.onConnect(begin)
  wslink.onSubscribe(topic => {
    if (topic === IMAGE) begin()
  })

  wslink.registerAll({
    demo: {
      add: (a: number, b: number) => a + b,
      fail: (why = 'nobody said why') => {
        throw new Error(why)
      },
      /** What it yields is published to its caller on the way. */
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
      /** Called with keyword arguments alone: the ones to change. */
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

// What clients send may be anything.

function angle(value: number): number {
  if (!Number.isFinite(value)) throw new RangeError(`an angle is a number, received ${value}`)
  return value
}

function checked({ palette, speed }: Settings): Settings {
  if (!Object.hasOwn(PALETTES, palette))
    throw new RangeError(`a palette is one of ${Object.keys(PALETTES).join(', ')}, received ${palette}`)
  if (typeof speed !== 'number' || !(Math.abs(speed) <= 20))
    throw new RangeError(`speed is a number from -20 to 20, in turns a minute, received ${speed}`)
  return { palette, speed }
}
