import calculateSlot from 'cluster-key-slot'
import type { Cluster, Redis } from 'ioredis'

/** The master of each slot of a Redis Cluster as `host:port`; empty if the client does not know it. */
export function ownersOf(cluster: Cluster): readonly string[] {
  return Array.from(slotsOf(cluster), nodes => nodes?.[0] ?? '')
}

/** The master of a channel's slot. */
export function ownerOf(cluster: Cluster, channel: string): Redis | undefined {
  const owner = slotsOf(cluster)[calculateSlot(channel)]?.[0]
  return cluster.nodes('master').find(({ options: { host, port } }) => `${host}:${port}` === owner)
}

/** The channel with a number appended, so that its slot belongs to this master. */
export function channelOf(master: string, owners: readonly string[], channel: string): string {
  for (let i = 0; ; i++) {
    const candidate = `${channel}:${i}`
    if (owners[calculateSlot(candidate)] === master) return candidate
  }
}

/** `slots` is missing in the types of ioredis. */
function slotsOf(cluster: Cluster): readonly (readonly string[] | undefined)[] {
  return (cluster as unknown as { readonly slots: readonly (readonly string[] | undefined)[] }).slots
}
