import { randomInt } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import type { Host, OptionSpecs, Server } from 'filtered-websocket'
import {
  type Endpoint,
  formatEndpoint,
  isHostname,
  isLoopback,
  optionError,
  parseEndpoint,
} from 'filtered-websocket/kit'
import { Announcer } from './announce/announcer.ts'

declare module 'filtered-websocket' {
  interface FilterApis {
    announce: AnnounceApi
  }
}

/** A port of this server, as clients that discover it read it. */
export interface Announced extends Endpoint {
  /** Four random digits, the same until the server stops. */
  readonly id: string
  /** Seconds since 1970. */
  readonly startTime: number
}

/** The API of `host.use('announce')`. */
export interface AnnounceApi {
  /**
   * Registers a port to announce; MUST be called in `setup`. Without `--messaging-announce` the port is not announced.
   *
   * @param host - the address that the port will listen on.
   * @param encode - the datagram.
   * @returns the function that starts the announcements; to be called with the address of the open port.
   * @throws Error `ERR_OPTION`: other machines cannot reach that address.
   */
  register(host: string, encode: (announced: Announced) => Buffer): (listening: Endpoint) => Promise<void>
}

export const describe = 'Announce the port of messaging by UDP'

export const options = {
  'messaging-announce': {
    type: 'boolean',
    default: false,
    describe: 'Announce the TCP port of messaging by UDP, so that clients in the network find it',
  },
  'messaging-announce-to': {
    type: 'string',
    default: '255.255.255.255:8181',
    describe: 'Destination of announcements, host:port. Default: all machines on the network of the default route',
  },
  'messaging-announce-every': {
    type: 'number',
    default: 3,
    min: 0.1,
    max: 3600,
    describe: 'Seconds between announcements',
  },
  'messaging-announce-host': {
    type: 'string',
    describe: 'Announced host. Default: the address of the port, or the first IPv4 address of this machine',
  },
} as const satisfies OptionSpecs

const IDS = 10_000
const ANY = ['0.0.0.0', '::']

/** Announces ports of this server by UDP, so that clients find it without configuration. */
export const setup = ({ options: chosen, every, log }: Host<typeof options>) => {
  const isOn = chosen['messaging-announce']
  const named = chosen['messaging-announce-host']
  if (named !== undefined && !isHostname(named))
    throw optionError(`--messaging-announce-host is an address or a name, received ${JSON.stringify(named)}`)
  const to = parseEndpoint('--messaging-announce-to', chosen['messaging-announce-to'])
  const announcers: Announcer[] = []
  let isRegistered = false
  let server: Server | undefined

  if (isOn)
    every(chosen['messaging-announce-every'] * 1000, () => {
      // While the server stops it accepts no connections.
      if (server?.checks.accepting) for (const announcer of announcers) announcer.send()
    })

  const api: AnnounceApi = {
    register(host, encode) {
      if (!isOn) return async () => {}
      isRegistered = true
      // Refuses before a port is opened.
      if (named === undefined) addressOf(host, to.host)
      return async listening => {
        const id = String(randomInt(IDS)).padStart(4, '0')
        const own = {
          host: named ?? addressOf(listening.host, to.host),
          port: listening.port,
          id,
          startTime: Date.now() / 1000,
        }
        announcers.push(await Announcer.open(to, encode(own), log))
        log.info({ ...own, to }, `server "${id}" at ${formatEndpoint(own)} is announced to ${formatEndpoint(to)}`)
      }
    },
  }

  return {
    start(starting: Server) {
      server = starting
      if (isOn && !isRegistered)
        throw optionError('--messaging-announce announces a TCP port; give --messaging-port too')
    },
    stop() {
      for (const announcer of announcers) announcer.close()
    },
    api,
  }
}

/** @throws Error `ERR_OPTION`: other machines cannot reach that address. */
function addressOf(listening: string, to: string): string {
  if (isLoopback(listening) && !isLoopback(to))
    throw optionError(
      `--messaging-announce would announce ${listening}, which other machines cannot reach; ` +
        'give --messaging-host an address in their network, or --messaging-announce-host',
    )
  if (!ANY.includes(listening)) return listening
  const addresses = Object.values(networkInterfaces()).flatMap(list => list ?? [])
  const own = addresses.find(({ family, internal }) => family === 'IPv4' && !internal)
  if (own === undefined)
    throw optionError('this machine has no IPv4 address to announce; give --messaging-announce-host')
  return own.address
}
