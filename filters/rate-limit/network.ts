import { isIPv6 } from 'node:net'

/** 64:ff9b::/96 (RFC 6052): an IPv4 host behind a translator, in the last two. */
const NAT64 = [0x64, 0xff9b, 0, 0, 0, 0]

/** Whom an address counts for: IPv4 for itself, IPv6 for its /64, since whoever has one address there has all of them. */
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

/** An IPv4 address at the end stands for two. */
function groupsOf(text: string): string[] {
  return text === '' ? [] : text.split(':').flatMap(group => (group.includes('.') ? ['0', '0'] : [group]))
}

function ipv4Of(address: string, groups: readonly number[]): string {
  const dotted = /(?:\d+\.){3}\d+$/.exec(address)?.[0]
  const [high, low] = groups.slice(6) as [number, number]
  return dotted ?? [high >> 8, high & 255, low >> 8, low & 255].join('.')
}
