import { setTimeout as sleep } from 'node:timers/promises'
import type { KillScene, SceneOptions } from './kill-scene.ts'
import type { Kind } from './numbered.ts'
import { until } from './peer.ts'

/** A fault while numbered messages are sent. */
export interface Fault extends Omit<SceneOptions, 'rate' | 'over'> {
  /** Messages that may be lost, and why. */
  readonly loses?: { readonly kinds: readonly Kind[]; readonly because: string }
  /** Error codes that senders may get. */
  readonly fails?: readonly string[]
  run(scene: KillScene): Promise<unknown>
}

/** Milliseconds. */
const DOWNTIME = 1000
const ONE = { nodes: 1, storage: 'memory' } as const

async function killServer(scene: KillScene): Promise<void> {
  await scene.killNode(0)
  await sleep(DOWNTIME)
  await scene.startNode(0)
}

async function killClient(scene: KillScene): Promise<void> {
  await scene.killCopter()
  await sleep(DOWNTIME)
  await scene.startCopter()
}

export const faults: Readonly<Record<string, Fault>> = {
  none: { ...ONE, run: () => sleep(DOWNTIME) },
  'server killed, memory': {
    ...ONE,
    loses: { kinds: ['emit'], because: 'memory is lost with its process' },
    run: killServer,
  },
  'server killed, Redis': { nodes: 1, storage: 'redis', run: killServer },
  'server killed, client comes back to another': { nodes: 2, storage: 'redis', run: scene => scene.killNode(0) },
  'client killed': { ...ONE, run: killClient },
  'client killed, Redis': { nodes: 1, storage: 'redis', run: killClient },
  'network cut': { ...ONE, run: async ({ nodes }) => nodes[0]!.proxy.cut() },
  'network cut during each of 5 resumes': {
    ...ONE,
    async run({ nodes }) {
      const { proxy } = nodes[0]!
      for (let i = 0; i < 5; i++) {
        const { accepted } = proxy
        proxy.cut()
        await until(() => proxy.accepted > accepted)
        await sleep(3 * i)
      }
      proxy.cut()
    },
  },
  'answers lost, then cut': {
    ...ONE,
    async run({ nodes }) {
      const { proxy } = nodes[0]!
      proxy.dropReplies()
      await sleep(DOWNTIME / 2)
      proxy.resume()
    },
  },
  'half-open for 3 s': {
    ...ONE,
    async run({ nodes }) {
      const { proxy } = nodes[0]!
      proxy.halfOpen()
      await sleep(3 * DOWNTIME)
      proxy.resume()
    },
  },
  'client moves to another node, and back': {
    nodes: 2,
    storage: 'redis',
    async run(scene) {
      await scene.move()
      await sleep(DOWNTIME / 2)
      await scene.move()
    },
  },
  'Redis cut off for 3 s': {
    nodes: 2,
    storage: 'redis',
    redisTimeout: 2,
    fails: ['unavailable'],
    async run({ nodes }) {
      for (const { storage } of nodes) storage!.refuse()
      await sleep(3 * DOWNTIME)
      for (const { storage } of nodes) await storage!.accept()
    },
  },
  'Redis killed, back empty after 1 s': {
    nodes: 2,
    storage: 'redis',
    redisTimeout: 1,
    loses: { kinds: ['emit'], because: 'the data of Redis is lost' },
    fails: ['unavailable'],
    async run({ redis }) {
      await redis!.kill()
      await sleep(DOWNTIME)
      await redis!.restart()
    },
  },
}
