import type { Client, Handlers, Host, Payload, Server } from 'filtered-websocket'
import { commandReader } from './command.ts'
import type { Driver } from './driver.ts'
import { type CarState, FIELD } from './model.ts'
import type { options } from './options.ts'

/** Milliseconds between two looks at the car. */
const TICK = 20

/**
 * One car for all clients: it obeys the last command, whoever gave it, and stops when its time is over, when its client has gone, at
 * a command that is none, and with the server.
 *
 * @param now - milliseconds of a clock that only goes forward.
 */
export function steer(
  { options: chosen, every, log }: Host<typeof options>,
  driver: Driver,
  now: () => number = () => performance.now(),
): Handlers {
  const read = commandReader(chosen['car-speed'], chosen['car-hold'])
  /** Whose command the car obeys; undefined: it has stopped, or is about to. */
  let holder: Client | undefined
  let until = 0
  /** Until the driver has taken a stop, and nothing was said to it since. */
  let mayMove = false
  let stops = 0
  let viewers: Server | undefined
  let told = ''

  const view = () => ({ car: rounded(driver.where()), driver: holder?.id ?? null })

  async function halt(): Promise<void> {
    holder = undefined
    const stop = ++stops
    await driver.drive(0)
    if (holder === undefined && stop === stops) mayMove = false
  }

  every(TICK, async () => {
    // A stop that has failed is tried again.
    if (mayMove && (holder === undefined || now() >= until)) await halt()
    const state = JSON.stringify(view())
    // A car that stands is no news.
    if (state === told) return
    told = state
    // Another node has another car.
    viewers?.broadcast(state, { local: true })
  })

  return {
    start: server => {
      viewers = server
    },

    open: client =>
      client.send(JSON.stringify({ you: client.id, field: FIELD, speed: chosen['car-speed'], ...view() })),

    async message(payload: Payload, client: Client) {
      const command = read(payload)
      if ('error' in command) {
        client.send(JSON.stringify(command))
        return halt()
      }
      if (stands(command.byte)) return halt()
      holder = client
      until = now() + command.seconds * 1000
      mayMove = true
      await driver.drive(command.byte)
    },

    disconnect: client => (client === holder ? halt() : undefined),

    stop: () => halt().catch(error => log.error({ err: error }, 'the car may still be moving')),
  }
}

function stands(byte: number): boolean {
  return byte >> 4 === 0 || (byte & 0xf) === 0
}

/** To the millimetre, so that what cannot be seen is no news. */
function rounded(state: CarState): Record<string, number> {
  return Object.fromEntries(Object.entries(state).map(([name, value]) => [name, Math.round(value * 1000) / 1000]))
}
