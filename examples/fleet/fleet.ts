import type { Client, Host, OptionSpecs, Server } from 'filtered-websocket'
import type { Args } from '../../filters/messaging.ts'
import { addCommands, FLEET } from './fleet/commands.ts'
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
    describe: 'Number of simulated copters to start, each in a separate process; 0 disables',
  },
  'fleet-station': {
    type: 'string',
    default: 'tcp://127.0.0.1:25000',
    describe: 'URL of --messaging-port, to which the simulated copters connect',
  },
} as const satisfies OptionSpecs

/** Topic of pages. */
const TELEMETRY = 'telemetry'
/** Characters of an event of a copter. */
const MAX_TEXT = 200
const MAX_EVENTS = 50

/** A ground station: copters connect over TCP, and pages show and control them. */
export const setup = (host: Host<typeof options>) => {
  const messaging = host.use('messaging')
  const processes = new Processes(host.options['fleet-station'], host.log)
  const roster = new Roster(copter => notifyPages('copter', [copter]))
  const starts = new Starts()
  /** The latest events, for pages that connect later. */
  const events: object[] = []
  let server: Server | undefined

  const notifyPages = (action: string, args: Args) =>
    messaging.broadcast(server!, action, args, {}, { topic: TELEMETRY, local: true })

  function addEvent(id: string, text: string, { at = messaging.now(), isTrouble = false } = {}): void {
    const event = { id, text: text.slice(0, MAX_TEXT), at, reported: messaging.now(), isTrouble }
    events.push(event)
    if (events.length > MAX_EVENTS) events.shift()
    notifyPages('event', [event])
  }

  messaging.onId((client, id) => {
    // Pages have ids as well.
    if (client.transport !== 'messaging') return
    const away = roster.connected(client, id)
    if (away === undefined) return
    client.join(FLEET)
    if (away > 0) addEvent(id, `back after ${away.toFixed(1)} s`)
  })
  messaging.action('telemetry', (client, _args, kwargs) => roster.update(client, kwargs))
  messaging.action('event', (client, [text], { at, failed }) => {
    const id = roster.idOf(client)
    if (id !== undefined)
      addEvent(id, String(text), { at: numberIn(at) ?? messaging.now(), isTrouble: failed === true })
  })
  messaging.action('started', (client, _args, kwargs) => {
    const id = roster.idOf(client)
    if (id !== undefined) starts.report(id, kwargs)
  })
  addCommands({ messaging, roster, starts, processes, server: () => server!, notifyPages, events })

  return {
    async start(started: Server) {
      server = started
      await processes.start(host.options['fleet-copters'])
    },
    disconnect(client: Client) {
      const id = roster.disconnected(client)
      if (id !== undefined) addEvent(id, 'disconnected', { isTrouble: true })
    },
    stop: () => processes.stop(),
  }
}
