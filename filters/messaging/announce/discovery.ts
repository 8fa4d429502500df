import { randomInt } from 'node:crypto'
import { networkInterfaces } from 'node:os'
import type { Host, Server } from 'filtered-websocket'
import { isLoopback, optionError } from 'filtered-websocket/kit'
import type { options } from '../options.ts'
import { type Endpoint, endpointOf, inBrackets, isHost } from '../transport/endpoint.ts'
import type { Announcement } from './announcement.ts'
import { Announcer } from './announcer.ts'
import { Elders } from './elders.ts'

/** An id has four digits. */
const IDS = 10_000
const ANY = ['0.0.0.0', '::']

/** Lets clients of the original find this server (clever-show-messaging, section 6). */
export class Discovery {
  readonly #host: Host<typeof options>
  readonly #to: Endpoint
  #server: Server | undefined
  #announcer: Announcer | undefined
  #elders: Elders | undefined

  private constructor(host: Host<typeof options>, to: Endpoint) {
    this.#host = host
    this.#to = to
  }

  /**
   * What was asked for, if it was; to be called in the setup.
   *
   * @throws Error `ERR_OPTION`
   */
  static of(host: Host<typeof options>): Discovery | undefined {
    const { options: chosen, every } = host
    const isAsked = chosen['messaging-announce']
    if (chosen['messaging-announce-yield'] && !isAsked)
      throw optionError('--messaging-announce-yield needs --messaging-announce')
    if (!isAsked) return undefined
    if (chosen['messaging-port'] === undefined)
      throw optionError('--messaging-announce announces a TCP port; give --messaging-port too')
    const named = chosen['messaging-announce-host']
    if (named !== undefined && !isHost(named))
      throw optionError(`--messaging-announce-host is an address or a name, received ${JSON.stringify(named)}`)
    const to = endpointOf('--messaging-announce-to', chosen['messaging-announce-to'])
    // Unless it is a name it is known before a port is opened.
    if (named === undefined) addressOf(chosen['messaging-host'], to.host)
    const discovery = new Discovery(host, to)
    every(chosen['messaging-announce-every'] * 1000, () => discovery.#announce())
    return discovery
  }

  /**
   * Begins.
   *
   * @param listening - the address and the port to announce.
   * @throws (rejects) Error `ERR_OPTION`: nobody could use that address. What the system says of its ports.
   */
  async start(server: Server, listening: Endpoint): Promise<void> {
    const { options: chosen, log } = this.#host
    const to = this.#to
    this.#server = server
    const own = {
      host: chosen['messaging-announce-host'] ?? addressOf(listening.host, to.host),
      port: listening.port,
      id: String(randomInt(IDS)).padStart(4, '0'),
      startTime: Date.now() / 1000,
    }
    if (chosen['messaging-announce-yield']) {
      const at = { host: isLoopback(to.host) ? to.host : '0.0.0.0', port: to.port }
      this.#elders = await Elders.listen(at, own, elder => server.stop(`${inWords(elder)} has been there for longer`))
    }
    this.#announcer = await Announcer.open(to, own, log)
    log.info({ ...own, to }, `${inWords(own)} is announced to ${inBrackets(to.host)}:${to.port}`)
  }

  /** Not while it stops: whoever came then would be sent away. */
  #announce(): void {
    if (this.#server?.checks.accepting) this.#announcer?.say()
  }

  close(): void {
    this.#announcer?.close()
    this.#elders?.close()
  }
}

function inWords({ id, host, port }: Announcement): string {
  return `messaging server ${JSON.stringify(id)} at ${inBrackets(host)}:${port}`
}

/** @throws Error `ERR_OPTION`: nobody whom it is told could use it. */
function addressOf(listening: string, to: string): string {
  if (isLoopback(listening) && !isLoopback(to))
    throw optionError(
      `--messaging-announce tells others of ${listening}, where they do not reach this machine; ` +
        'give --messaging-host an address in their network, or --messaging-announce-host',
    )
  if (!ANY.includes(listening)) return listening
  const addresses = Object.values(networkInterfaces()).flatMap(list => list ?? [])
  const own = addresses.find(({ family, internal }) => family === 'IPv4' && !internal)
  if (own === undefined)
    throw optionError('this machine has no IPv4 address to announce; give --messaging-announce-host')
  return own.address
}
