import type { Client, Handlers, Host, Payload, Server } from 'filtered-websocket'
import { commandReader } from './command.ts'
import type { Driver } from './driver.ts'
import { type CarState, FIELD } from './model.ts'
import type { options } from './options.ts'

/** Milliseconds between two checks of the car. */
const TICK = 20

/**
 * One car for all clients. It executes the last command of any client. It stops after the duration, when the client of the command
 * disconnects, at an invalid command, and with the server.
 *
 * @param now - milliseconds of a monotonic clock.
 */
export function steer(
  { options: chosen, every, log }: Host<typeof options>,
  driver: Driver,
  now: () => number = () => performance.now(),
): Handlers {
  const read = commandReader(chosen['car-speed'], chosen['car-hold'])
  /** Client of the current command; undefined when the car has stopped or must stop. */
  let holder: Client | undefined
  let until = 0
  /** False after the driver has confirmed a stop without a later command. */
  let mayMove = false
  let stops = 0
  let viewers: Server | undefined
  let sent = ''

  const view = () => ({ car: rounded(driver.where()), driver: holder?.id ?? null })

  async function halt(): Promise<void> {
    holder = undefined
    const stop = ++stops
    await driver.drive(0)
    if (holder === undefined && stop === stops) mayMove = false
  }

  every(TICK, async () => {
    // Retries a failed stop.
    if (mayMove && (holder === undefined || now() >= until)) await halt()
    const state = JSON.stringify(view())
    // The state of a standing car does not change.
    if (state === sent) return
    sent = state
    // Each node has its own car.
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
      if (isStop(command.byte)) {
        await halt()
        if (command.isReset) driver.reset()
        return
      }
      holder = client
      until = now() + command.seconds * 1000
      mayMove = true
      await driver.drive(command.byte)
    },

    disconnect: client => (client === holder ? halt() : undefined),

    stop: () => halt().catch(error => log.error({ err: error }, 'the car may still be moving')),
  }
}

function isStop(byte: number): boolean {
  return byte >> 4 === 0 || (byte & 0xf) === 0
}

/** To the millimeter, so that invisible changes are not sent. */
function rounded(state: CarState): Record<string, number | boolean> {
  const round = (value: number | boolean) => (typeof value === 'number' ? Math.round(value * 1000) / 1000 : value)
  return Object.fromEntries(Object.entries(state).map(([name, value]) => [name, round(value)]))
}
