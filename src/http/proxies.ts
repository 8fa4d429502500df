import { BlockList, isIP, isIPv4, isIPv6, SocketAddress } from 'node:net'
import { FwsError } from '../contract/errors.ts'

/** Peers on a Unix socket, in `--trust-proxy` and as address of a client. */
export const UNIX = 'unix'
const LOOPBACK = ['127.0.0.0/8', '::1/128']

/** The proxies whose X-Forwarded-For is trusted. */
export class Proxies {
  readonly #trusted: BlockList
  readonly #trustsUnix: boolean

  constructor(trusted: BlockList, trustsUnix: boolean) {
    this.#trusted = trusted
    this.#trustsUnix = trustsUnix
  }

  /**
   * The address of the peer: the last hop of X-Forwarded-For that is not a trusted proxy; clients can forge the hops before it.
   * An invalid entry ends the search at the hop after it.
   *
   * @param address - address of the socket; unless it is a trusted proxy, the header is ignored.
   */
  remoteOf(address: string | undefined, forwardedFor: string | undefined): string {
    let hop = bare(address ?? '')
    let rest = forwardedFor ?? ''
    while (rest !== '' && this.trusts(hop)) {
      const comma = rest.lastIndexOf(',')
      const next = addressOf(rest.slice(comma + 1).trim())
      if (next === undefined) break
      hop = next
      rest = rest.slice(0, Math.max(comma, 0))
    }
    return hop
  }

  /** @param address - IPv4 addresses not written as IPv6. */
  trusts(address: string): boolean {
    if (address === UNIX) return this.#trustsUnix
    return isIP(address) !== 0 && this.#trusted.check(address, familyOf(address))
  }
}

/**
 * Parses `--trust-proxy`.
 *
 * @param entries - addresses, ranges such as `10.0.0.0/8`, `loopback`, or `unix`: all peers on a Unix socket.
 * @throws FwsError `ERR_OPTION`.
 */
export function readProxies(entries: readonly string[]): Proxies {
  const trusted = new BlockList()
  for (const entry of entries) {
    if (entry === UNIX) continue
    for (const range of entry === 'loopback' ? LOOPBACK : [entry]) {
      const [address = '', prefix, ...more] = range.split('/')
      const max = isIPv4(address) ? 32 : 128
      const bits = prefix === undefined ? max : Number(prefix)
      const isRange = more.length === 0 && (prefix === undefined || /^\d{1,3}$/.test(prefix)) && bits <= max
      if (isIP(address) === 0 || address.includes('%') || !isRange) {
        throw new FwsError(
          'ERR_OPTION',
          `--trust-proxy takes addresses, ranges such as 10.0.0.0/8, loopback, or unix, received "${entry}"`,
        )
      }
      if (bits === 0) {
        throw new FwsError(
          'ERR_OPTION',
          `--trust-proxy ${entry} would let every client choose its address; name the proxies`,
        )
      }
      trusted.addSubnet(address, bits, familyOf(address))
    }
  }
  return new Proxies(trusted, entries.includes(UNIX))
}

/** The address of an entry with an optional port; `undefined` if it is not valid. */
function addressOf(entry: string): string | undefined {
  const [, inBrackets, beforePort] = /^\[([^\]]+)\](?::\d{1,5})?$|^([\d.]+):\d{1,5}$/.exec(entry) ?? []
  if (inBrackets !== undefined) return isIPv6(inBrackets) ? bare(canonical(inBrackets)) : undefined
  const address = beforePort ?? entry
  if (isIPv4(address)) return address
  return isIPv6(address) ? bare(canonical(address)) : undefined
}

/** Normalizes an IPv6 address to the notation of socket addresses. */
function canonical(address: string): string {
  return new SocketAddress({ address: withoutZone(address), family: 'ipv6' }).address
}

/** Removes the zone and the prefix of an IPv4-mapped address. */
function bare(address: string): string {
  return withoutZone(address).replace(/^::ffff:(?=\d+\.)/i, '')
}

function withoutZone(address: string): string {
  const zone = address.indexOf('%')
  return zone === -1 ? address : address.slice(0, zone)
}

function familyOf(address: string): 'ipv4' | 'ipv6' {
  return isIPv4(address) ? 'ipv4' : 'ipv6'
}
