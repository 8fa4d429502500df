import type { Host } from 'filtered-websocket'
import { simulated } from './driver.ts'
import { options } from './options.ts'
import { steer } from './steer.ts'

export { options }

/** A toy car that everybody may drive and see; a real one has a driver of its own in the place of the simulated one. */
export const setup = (host: Host<typeof options>) => steer(host, simulated())
