import type { Client, Host, OptionSpecs, Server } from 'filtered-websocket'
import type { Args } from '../../filters/messaging.ts'
import { FLEET, offerCommands } from './fleet/commands.ts'
import { Processes } from './fleet/processes.ts'
import { numberIn, Roster } from './fleet/roster.ts'
import { Starts } from './fleet/starts.ts'

export const uses = ['messaging']

export const options = {
  'fleet-copters': {
    type: 'number',
    default: 10,
    min: 0,
    max: 50,
    integer: true,
    describe: 'simulated copters that are started, each a process of its own',
  },
  'fleet-station': {
    type: 'string',
    default: 'tcp://127.0.0.1:25000',
    describe: 'where these connect: the address of --messaging-port',
  },
} as const satisfies OptionSpecs

/** What pages subscribe to. */
const TELEMETRY = 'telemetry'
/** Characters of what a copter tells. */
const MAX_TEXT = 200
const MAX_EVENTS = 50

/** A ground station: copters connect by TCP, and pages see them and tell them what to do. */
export const setup = (host: Host<typeof options>) => {
  const messaging = host.use('messaging')
  const processes = new Processes(host.options['fleet-station'], host.log)
  const roster = new Roster(copter => tellPages('copter', [copter]))
  const starts = new Starts()
  /** The last ones, for pages that come later. */
  const events: object[] = []
  let server: Server | undefined

  const tellPages = (action: string, args: Args) =>
    messaging.broadcast(server!, action, args, {}, { topic: TELEMETRY, local: true })

  function tellEvent(id: string, text: string, at: number): void {
    const event = { id, text: text.slice(0, MAX_TEXT), at, told: messaging.now() }
    events.push(event)
    if (events.length > MAX_EVENTS) events.shift()
    tellPages('event', [event])
  }

  messaging.onId((client, id) => {
    // Pages have ids as well.
    if (client.transport !== 'messaging') return
    const away = roster.came(client, id)
    if (away === undefined) return
    client.join(FLEET)
    if (away > 0) tellEvent(id, `back after ${away.toFixed(1)} s`, messaging.now())
  })
  messaging.action('telemetry', (client, _args, kwargs) => roster.hear(client, kwargs))
  messaging.action('event', (client, [text], { at }) => {
    const id = roster.idOf(client)
    if (id !== undefined) tellEvent(id, String(text), numberIn(at) ?? messaging.now())
  })
  messaging.action('started', (client, _args, kwargs) => {
    const id = roster.idOf(client)
    if (id !== undefined) starts.hear(id, kwargs)
  })
  offerCommands({ messaging, roster, starts, processes, server: () => server!, tellPages, events })

  return {
    async start(started: Server) {
      server = started
      await processes.start(host.options['fleet-copters'])
    },
    disconnect: (client: Client) => roster.left(client),
    stop: () => processes.stop(),
  }
}
