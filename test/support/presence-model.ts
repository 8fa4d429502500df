import assert from 'node:assert/strict'
import { setTimeout as sleep } from 'node:timers/promises'
import type { Member } from '../../filters/presence.ts'
import { DelayedStreams } from '../../src/testing/index.ts'
import { randomFrom } from '../../src/testing/random-from.ts'
import { openMemory } from './memory-storage.ts'
import { PresenceNode, replay } from './presence-node.ts'

const TOPIC = 'room'
const USERS = ['ann', 'bob', 'cyd', 'dan']
const MAX_CLIENTS = 12
/** Milliseconds. */
const OPTIONS = { graceMs: 30, leaseMs: 400, waitMs: 20 }

interface ModelNode {
  readonly streams: DelayedStreams
  readonly node: PresenceNode
}

/** What happened in one run. */
export interface Ran {
  readonly kills: number
  readonly epochs: number
}

/**
 * Three nodes and their clients at random, on a storage that delays and loses answers, is away and emptied, while nodes die, start and
 * lose their leases. In the end all nodes list the same members: those of their clients.
 */
export async function runPresence(seed: number, steps = 60): Promise<Ran> {
  const random = randomFrom(seed)
  const below = (count: number) => Math.floor(random() * count)
  const { streams: engine, values, sets } = openMemory()
  const first = new DelayedStreams(engine!, { seed })
  const storage = { values: values!, sets: sets! }
  const start = async (streams: DelayedStreams): Promise<ModelNode> => {
    streams.faults.unanswered = 0.2
    return { streams, node: await PresenceNode.start(streams, storage, OPTIONS) }
  }
  const nodes = await Promise.all([first, first.node(), first.node()].map(start))
  let ids = 0
  let [kills, epochs] = [0, 0]
  /** Its clients have other connections from now on. */
  const kill = async (at: number) => {
    const { streams, node } = nodes[at]!
    streams.away = 'silent'
    node.kill()
    kills++
    nodes[at] = await start(first.node())
    // As clients that reconnect.
    for (const identity of node.membersOf(TOPIC).values()) {
      if (random() < 0.5) nodes[below(3)]!.node.join(`c${ids++}`, identity, TOPIC)
    }
  }
  const step = async () => {
    const at = below(3)
    const { node, streams } = nodes[at]!
    const clients = [...node.membersOf(TOPIC).keys()]
    const one = clients[below(clients.length)]
    const action = random()
    if (action < 0.4 && clients.length < MAX_CLIENTS) node.join(`c${ids++}`, USERS[below(4)]!, TOPIC)
    else if (action < 0.7 && one !== undefined) node.leave(one, TOPIC)
    else if (action < 0.75 && one !== undefined) node.rename(one, USERS[below(4)]!)
    else if (action < 0.79) {
      streams.away = 'rejects'
      setTimeout(() => {
        if (streams.away === 'rejects') streams.away = undefined
      }, 40)
    } else if (action < 0.82) await kill(at)
    else if (action < 0.83) {
      epochs++
      await engine!.remove(`@presence/${TOPIC}`)
    } else if (action < 0.85) await endLease(node)
    else if (action < 0.9) await sleep(below(40))
  }
  const endLease = async (node: PresenceNode) => values!.delete(`presence:node:${node.presence.node}`)

  for (let i = 0; i < steps; i++) {
    await step()
    await sleep(below(3))
  }
  for (const { node, streams } of nodes) {
    node.wait(TOPIC, 10_000)
    streams.faults.unanswered = 0
    streams.away = undefined
  }
  const expected = nodes.flatMap(({ node }) => [...node.membersOf(TOPIC)]).toSorted()
  const users = [...new Set(expected.map(([, user]) => user))].toSorted()
  const shown = (members: readonly Member[]) => members.map(({ client, user }) => [client, user] as const).toSorted()
  const deadline = Date.now() + 60_000
  for (;;) {
    try {
      for (const { node } of nodes) {
        const { members, clients, users: count } = await node.presence.list(TOPIC)
        assert.deepEqual(shown(members), expected)
        assert.deepEqual([clients, count], [expected.length, users.length])
        assert.deepEqual(await node.presence.count(TOPIC), { clients, users: count })
      }
      const { kept } = nodes[0]!.node
      const page = await kept.read(kept.of(`@presence/${TOPIC}`)!, { from: 'oldest', entries: 1e6, bytes: 1e9 })
      assert.deepEqual(replay(page.entries.map(({ payload }) => String(payload))), users)
      break
    } catch (error) {
      // Under load a node may lose its lease, and join again.
      if (Date.now() > deadline) {
        for (const { node } of nodes) node.kill()
        throw error
      }
      await sleep(20)
    }
  }
  for (const { node } of nodes) await node.stop()
  return { kills, epochs }
}

/** Runs in parallel, since most of their time is waiting. */
export async function runPresences(firstSeed: number, runs: number, parallel = 20): Promise<Ran> {
  let [next, kills, epochs] = [firstSeed, 0, 0]
  await Promise.all(
    Array.from({ length: parallel }, async () => {
      while (next < firstSeed + runs) {
        const seed = next++
        const ran = await runPresence(seed).catch(error => {
          throw new Error(`seed ${seed}`, { cause: error })
        })
        kills += ran.kills
        epochs += ran.epochs
      }
    }),
  )
  return { kills, epochs }
}
