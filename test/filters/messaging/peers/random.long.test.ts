import assert from 'node:assert/strict'
import { randomUUID } from 'node:crypto'
import { describe, it } from 'node:test'
import { setImmediate as nextTurn } from 'node:timers/promises'
import pino from 'pino'
import type { PeersContext } from '../../../../filters/messaging/peers/context.ts'
import { LocalPeer } from '../../../../filters/messaging/peers/local-peer.ts'
import { Queues } from '../../../../filters/messaging/peers/queues.ts'
import type { Session } from '../../../../filters/messaging/rpc/session.ts'
import type { Action } from '../../../../filters/messaging/wire/message.ts'
import { createCounters } from '../../../../src/fanout/counters.ts'
import type { Server, Streams } from '../../../../src/index.ts'
import type { NodeRegistry } from '../../../../src/kit/index.ts'
import { KeptTopics } from '../../../../src/streams/kept-topics.ts'
import { DelayedStreams } from '../../../../src/testing/delayed-streams.ts'
import { randomFrom } from '../../../../src/testing/random-from.ts'
import { openMemory } from '../../../support/memory-storage.ts'
import { until } from '../../../support/peer.ts'

const log = pino({ level: 'silent' })
const PEER = 'copter1'
const BOUNDS = { size: 10_000, bytes: 1e8, ttlMs: 60_000 }

/** A node with one peer. Other nodes notice its end when it is added to `dead`. */
class Node {
  readonly id: string = randomUUID()
  readonly streams: DelayedStreams
  readonly server: Server
  readonly peer: LocalPeer
  readonly queues = new Queues(BOUNDS, 10)
  readonly #kept: KeptTopics

  constructor(streams: DelayedStreams, dead: ReadonlySet<string>) {
    this.streams = streams
    const kept = new KeptTopics({
      streams,
      instance: randomUUID(),
      totals: createCounters().streams,
      drops: {},
      log,
      retain: topic => this.queues.retain(topic),
      deliver: () => {},
      lose: () => {},
      hasMembers: () => false,
    })
    kept.start()
    this.#kept = kept
    const server: Pick<Server, 'append' | 'read' | 'trim' | 'watch'> = {
      append: (topic, entries, how = {}) =>
        kept.append(kept.of(topic)!, {
          entries: typeof entries === 'string' ? [{ payload: entries }] : (entries as never),
          ...how,
        }),
      read: (topic, range) => kept.read(kept.of(topic)!, range),
      trim: (topic, upTo) => kept.trim(kept.of(topic)!, upTo),
      watch: (topic, watcher) => kept.watch(kept.of(topic)!, watcher),
    }
    this.server = server as Server
    const registry: Pick<NodeRegistry, 'id' | 'isOwn' | 'isDead' | 'wasAlive'> = {
      id: this.id,
      isOwn: id => id === this.id,
      isDead: id => dead.has(id),
      wasAlive: id => !dead.has(id),
    }
    this.peer = new LocalPeer(PEER, {
      server: this.server,
      registry: registry as NodeRegistry,
      window: 20,
      refused: () => {},
      expired: () => assert.fail('nothing expires'),
      failed: () => {},
    } as Partial<PeersContext> as PeersContext)
  }

  kill(): void {
    this.streams.stop()
    this.streams.away = 'silent'
    this.#kept.stop()
    void this.peer.stop()
  }
}

/** A connection of the peer, which answers with random delays and may be cut. */
class Connection {
  readonly session: Session
  readonly node: Node
  readonly #ended = new AbortController()

  constructor(node: Node, random: () => number, received: (action: Action) => void) {
    this.node = node
    const client = { id: randomUUID(), signal: this.#ended.signal, buffered: 0, drained: () => nextTurn() }
    const send = (action: Action) => {
      client.buffered++
      if (client.signal.aborted) return
      received(action)
      void (async () => {
        for (let left = random() * 6; left > 0; left--) await nextTurn()
        const { id, name } = action
        if (!client.signal.aborted)
          this.session.delivery?.answered(this.session, { type: 'response', id: id!, name, value: null })
      })()
    }
    this.session = { client, send, delivery: undefined } as unknown as Session
    node.peer.enter(this.session, true)
  }

  cut(): void {
    this.#ended.abort()
  }
}

describe('queued actions', () => {
  for (let seed = 1; seed <= 40; seed++)
    it(`arrive in order on any connection, again only with resend (seed ${seed})`, async t => {
      // The timers of the nodes do not keep the process alive.
      const alive = setInterval(() => {}, 1000)
      t.after(() => clearInterval(alive))
      const random = randomFrom(seed)
      const dead = new Set<string>()
      const engine = openMemory().streams as Streams
      const first = new DelayedStreams(engine, { seed })
      const nodes = [new Node(first, dead), new Node(first.node(), dead), new Node(first.node(), dead)]
      const names: string[] = []
      const violations: string[] = []
      const received = (action: Action) => {
        const isKnown = names.includes(action.name)
        if (isKnown && action.resend !== true) violations.push(`${action.name} again without resend`)
        if (!isKnown && action.name !== String(names.length)) violations.push(`${action.name} after ${names.at(-1)}`)
        if (!isKnown) names.push(action.name)
      }
      const live = () => nodes.filter(({ id }) => !dead.has(id))
      const some = <T>(all: readonly T[]): T => all[Math.floor(random() * all.length)]!
      for (const { streams } of nodes) Object.assign(streams.faults, { lost: 0.05, doubled: 0.05, late: 0.05 })
      let connection = new Connection(some(nodes), random, received)
      const ending: Connection[] = []
      let emitted = 0
      for (let step = 0; step < 150; step++) {
        const dice = random()
        if (dice < 0.6) {
          // One after the other, as their order is that of the appends.
          await nodes[0]!.queues.append(nodes[0]!.server, PEER, { name: String(emitted++), args: [], kwargs: {} })
        } else if (dice < 0.75) {
          connection.cut()
          // The server notices that later.
          ending.push(connection)
          connection = new Connection(some(live()), random, received)
        } else if (dice < 0.85) {
          const { node, session } = ending.shift() ?? {}
          node?.peer.leave(session!)
        } else if (dice < 0.87 && live().length > 1) {
          const node = nodes.findLast(({ id }) => !dead.has(id))!
          node.kill()
          dead.add(node.id)
          if (connection.node === node) {
            connection.cut()
            connection = new Connection(some(live()), random, received)
          }
          for (const { peer } of live()) peer.nodesChanged()
        } else if (dice < 0.9) {
          some(live()).streams.interrupt()
        }
        await nextTurn()
      }
      for (const { streams } of live()) {
        Object.assign(streams.faults, { lost: 0, late: 0 })
        streams.interrupt()
      }
      // One of them may be active: its node has stored it after the later ones.
      for (const { node, session } of ending) node.peer.leave(session)
      await until(() => names.length === emitted, `${emitted} actions, got ${names.length}`)
      assert.deepEqual(violations, [])
      const { server } = nodes[0]!
      const read = () => server.read('@messaging/copter1', { from: 'oldest', entries: 100, bytes: 1e6 })
      await until(async () => (await read()).entries.length === 0, 'an empty queue')
      for (const node of live()) node.kill()
    })
})
