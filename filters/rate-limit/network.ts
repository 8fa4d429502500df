import { isIPv6 } from 'node:net'

/** 64:ff9b::/96 (RFC 6052): the last two groups are the IPv4 address of a host behind a translator. */
const NAT64 = [0x64, 0xff9b, 0, 0, 0, 0]

/** The network that limits count: an IPv4 address, or the /64 of an IPv6 address, since a host owns its whole /64. */
export function networkOf(address: string): string {
  const mapped = /^::ffff:(\d+(?:\.\d+){3})$/i.exec(address)?.[1]
  if (mapped !== undefined) return mapped
  const [bare = ''] = address.split('%')
  if (!isIPv6(bare)) return address
  const [head = '', tail] = bare.split('::')
  const groups = groupsOf(head)
  if (tail !== undefined) {
    const after = groupsOf(tail)
    while (groups.length + after.length < 8) groups.push('0')
    groups.push(...after)
  }
  const numbers = groups.map(group => Number.parseInt(group, 16))
  if (NAT64.every((part, i) => numbers[i] === part)) return ipv4Of(bare, numbers)
  return `${numbers
    .slice(0, 4)
    .map(group => group.toString(16))
    .join(':')}::/64`
}

/** Splits into groups; a dotted IPv4 address counts as two. */
function groupsOf(text: string): string[] {
  return text === '' ? [] : text.split(':').flatMap(group => (group.includes('.') ? ['0', '0'] : [group]))
}

function ipv4Of(address: string, groups: readonly number[]): string {
  const dotted = /(?:\d+\.){3}\d+$/.exec(address)?.[0]
  const [high, low] = groups.slice(6) as [number, number]
  return dotted ?? [high >> 8, high & 255, low >> 8, low & 255].join('.')
}
