import calculateSlot from 'cluster-key-slot'
import type { Cluster, Redis } from 'ioredis'

/** Which master has each slot of a Redis Cluster, as `host:port`; empty where the client does not know. */
export function ownersOf(cluster: Cluster): readonly string[] {
  return Array.from(slotsOf(cluster), nodes => nodes?.[0] ?? '')
}

/** The master that is responsible for a channel. */
export function ownerOf(cluster: Cluster, channel: string): Redis | undefined {
  const owner = slotsOf(cluster)[calculateSlot(channel)]?.[0]
  return cluster.nodes('master').find(({ options: { host, port } }) => `${host}:${port}` === owner)
}

/** A channel for which this master is responsible: the one given, and a number. */
export function channelOf(master: string, owners: readonly string[], channel: string): string {
  for (let i = 0; ; i++) {
    const candidate = `${channel}:${i}`
    if (owners[calculateSlot(candidate)] === master) return candidate
  }
}

/** Known to ioredis for its own commands, not part of its types. */
function slotsOf(cluster: Cluster): readonly (readonly string[] | undefined)[] {
  return (cluster as unknown as { readonly slots: readonly (readonly string[] | undefined)[] }).slots
}
