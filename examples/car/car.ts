import type { Host } from 'filtered-websocket'
import { simulated } from './driver.ts'
import { options } from './options.ts'
import { steer } from './steer.ts'

export { options }

/** A toy car that all clients drive and see. For a real car, replace `simulated()` by a driver. */
export const setup = (host: Host<typeof options>) => steer(host, simulated())
