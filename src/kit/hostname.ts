const MAX_PORT = 65_535
/** Characters of a DNS name (RFC 1035, section 2.3.4). */
const MAX_NAME = 253
/** Also of an IPv4 address. */
const NAME = /^[a-z0-9_-]+(?:\.[a-z0-9_-]+)*\.?$/i
const IPV6 = /^([\da-f:.]+)(?:%[\w.:-]+)?$/i

/**
 * Whether a string is an IP address without brackets, or could be a DNS name.
 *
 * @example
 * isHostname('10.0.0.1; reboot') // false
 */
export function isHostname(value: string): boolean {
  if (value.length > MAX_NAME) return false
  const [, ipv6] = IPV6.exec(value) ?? []
  return NAME.test(value) || (ipv6 !== undefined && URL.canParse(`http://[${ipv6}]`))
}

/**
 * Whether a number is a port that a peer can connect to: 1 to 65,535.
 *
 * @example
 * isPort(0) // false
 */
export function isPort(value: number): boolean {
  return Number.isInteger(value) && value >= 1 && value <= MAX_PORT
}
