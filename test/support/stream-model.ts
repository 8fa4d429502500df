import assert from 'node:assert/strict'
import { setImmediate as turn } from 'node:timers/promises'
import pino from 'pino'
import type { Joined, Position, StreamEntry, Streams } from '../../src/contract/streams.ts'
import { createCounters } from '../../src/fanout/counters.ts'
import type { Answer } from '../../src/streams/follower.ts'
import { KeptTopics } from '../../src/streams/kept-topics.ts'
import { DelayedStreams } from '../../src/testing/index.ts'
import { randomFrom } from '../../src/testing/random-from.ts'
import { openMemory } from './memory-storage.ts'

const TOPIC = 'room'
/** Small, so that trims are frequent. */
const RETENTION = { size: 12, ttlMs: 60_000, full: 'trim' } as const
const log = pino({ level: 'silent' })

/** A client that checks each message against its position. */
class ModelClient {
  position: Position | undefined
  losses = 0
  readonly #truth: Truth

  constructor(truth: Truth) {
    this.#truth = truth
  }

  joined(joined: Joined, after: 'now' | 'earliest' | Position): void {
    this.#truth.check(() => this.#checkJoined(joined, after))
    if (joined.lost !== undefined) this.losses++
    this.position = joined.position
  }

  gets(entry: StreamEntry, position: Position): void {
    this.#truth.check(() => {
      assert.deepEqual(position, { epoch: this.position!.epoch, offset: this.position!.offset + 1 })
      this.#truth.see(position.epoch, entry)
    })
    this.position = position
  }

  loses(position: Position): void {
    this.losses++
    this.position = position
  }

  #checkJoined({ position, recovered, entries, lost }: Joined, after: 'now' | 'earliest' | Position): void {
    assert.ok(position !== undefined)
    assert.equal(recovered, lost === undefined)
    if (recovered && after !== 'now') {
      const first = entries[0]?.offset ?? position.offset + 1
      if (after !== 'earliest') assert.deepEqual({ ...position, offset: first - 1 }, after)
      assert.deepEqual(
        entries.map(({ offset }) => offset),
        Array.from({ length: position.offset - first + 1 }, (_, i) => first + i),
      )
    } else {
      assert.deepEqual(entries, [])
    }
    for (const entry of entries) this.#truth.see(position.epoch, entry)
  }
}

/** The payload at each position: equal for all clients. */
class Truth {
  /** The first failed check: errors of callbacks do not reach the test. */
  failure: unknown
  readonly #payloads = new Map<string, string>()

  check(test: () => void): void {
    try {
      test()
    } catch (error) {
      this.failure ??= error
    }
  }

  see(epoch: string, { offset, payload }: Pick<StreamEntry, 'offset' | 'payload'>): void {
    const at = `${epoch}/${offset}`
    assert.equal(this.#payloads.get(at) ?? payload, payload, at)
    this.#payloads.set(at, String(payload))
  }
}

class ModelNode {
  readonly streams: DelayedStreams
  readonly kept: KeptTopics
  readonly members = new Set<ModelClient>()
  readonly totals = createCounters().streams

  constructor(streams: DelayedStreams, instance: string) {
    this.streams = streams
    this.kept = new KeptTopics({
      streams,
      instance,
      totals: this.totals,
      drops: {},
      log,
      retain: () => RETENTION,
      deliver: (_, entry, position) => {
        for (const member of this.members) member.gets(entry as StreamEntry, position!)
      },
      lose: (_, position) => {
        for (const member of this.members) member.loses(position)
      },
      hasMembers: () => this.members.size > 0,
    })
    this.kept.start()
  }

  join(client: ModelClient, after: 'now' | 'earliest' | Position): void {
    const joined = ({ entries, from, ...answer }: Answer) => {
      this.members.add(client)
      client.joined({ ...answer, entries: entries.slice(from) }, after)
    }
    this.kept.join(this.kept.of(TOPIC)!, { after, joined })
  }

  leave(client: ModelClient): void {
    this.members.delete(client)
    this.kept.release(TOPIC)
  }

  stop(): void {
    this.kept.stop()
    this.streams.stop()
  }
}

/**
 * Three nodes and their clients, at random, on a storage that loses, doubles and delays announcements and answers, is trimmed and
 * emptied. Every client checks that what it gets has no hole from its position on, or that it was informed of a loss.
 */
export async function runModel(seed: number, steps = 40): Promise<{ losses: number; recovered: number }> {
  const random = randomFrom(seed)
  const below = (count: number) => Math.floor(random() * count)
  const truth = new Truth()
  const storage = openMemory()
  const engine = storage.streams!
  const first = new DelayedStreams(engine, { seed })
  const nodes = [0, 1, 2].map(i => new ModelNode(i === 0 ? first : first.node(), `${seed}-${i}`))
  const clients = Array.from({ length: 6 }, () => new ModelClient(truth))
  const nodeOf = new Map<ModelClient, ModelNode>()
  /** Positions that clients have had, of which some return. */
  const seen: Position[] = []
  const pending: Promise<unknown>[] = []
  let count = 0
  let restarts = 0
  for (const { streams } of nodes) {
    const isFaulty = random() < 0.7
    Object.assign(streams.faults, isFaulty ? { lost: 0.2, doubled: 0.1, late: 0.1, unanswered: 0.05 } : {})
  }
  for (let step = 0; step < steps; step++) {
    const what = below(20)
    const node = nodes[below(3)]!
    const client = clients[below(clients.length)]!
    const ref = node.kept.of(TOPIC)!
    if (what < 8) {
      for (let i = below(4); i >= 0; i--) {
        const payload = `${count++}`
        const append = node.kept.append(ref, { entries: [{ payload }] })
        pending.push(
          append.then(
            outcome => {
              if ('position' in outcome)
                truth.check(() => truth.see(outcome.position.epoch, { offset: outcome.position.offset, payload }))
            },
            () => {},
          ),
        )
      }
    } else if (what < 14) {
      const before = nodeOf.get(client)
      if (before === undefined) {
        const returning = seen[below(seen.length)]
        const after = [client.position ?? 'now', 'now', 'earliest', returning ?? 'earliest'][below(4)] as
          | 'now'
          | Position
        node.join(client, after)
        nodeOf.set(client, node)
      } else if (before.members.has(client)) {
        before.leave(client)
        nodeOf.delete(client)
        if (client.position !== undefined) seen.push(client.position)
      }
    } else if (what === 14) {
      const top = node.kept.positionOf(TOPIC)
      if (top !== undefined) void node.kept.trim(ref, { ...top, offset: top.offset - below(4) }).catch(() => {})
    } else if (what === 15) {
      void node.streams.remove(TOPIC).catch(() => {})
    } else if (what === 16) {
      node.streams.interrupt()
    } else if (what === 17 && restarts < 2) {
      const index = nodes.indexOf(node)
      node.stop()
      nodes[index] = new ModelNode(first.node(), `${seed}-${index}-${++restarts}`)
      for (const [other, its] of nodeOf) if (its === node) nodeOf.delete(other)
    } else if (what === 18) {
      for (let i = below(10); i >= 0; i--) await turn()
    } else {
      await turn()
    }
  }
  for (const { streams } of nodes) Object.assign(streams.faults, { lost: 0, doubled: 0, late: 0, unanswered: 0 })
  await Promise.all(pending)
  await settle(nodes, clients, nodeOf, engine, truth)
  if (truth.failure !== undefined) throw truth.failure
  for (const node of nodes) node.stop()
  await storage.close?.()
  return {
    losses: clients.reduce((sum, { losses }) => sum + losses, 0),
    recovered: nodes.reduce((sum, { totals }) => sum + totals.recovered, 0),
  }
}

/** Waits until each client that has joined is at the top. */
async function settle(
  nodes: readonly ModelNode[],
  clients: readonly ModelClient[],
  nodeOf: ReadonlyMap<ModelClient, ModelNode>,
  engine: Streams,
  truth: Truth,
): Promise<void> {
  const ref = nodes[0]!.kept.of(TOPIC)!
  for (let tries = 0; ; tries++) {
    await Promise.all(nodes.map(({ kept }) => kept.check()))
    const [top] = await engine.tops([ref])
    const behind = clients.filter(client => {
      const node = nodeOf.get(client)
      const { position } = client
      const isMember = node?.members.has(client) === true
      return node !== undefined && !(isMember && position?.epoch === top!.epoch && position.offset === top!.offset)
    })
    if (behind.length === 0 || truth.failure !== undefined) return
    assert.ok(tries < 2000, `clients are not at the top ${JSON.stringify(top)}: ${JSON.stringify(behind)}`)
    for (let i = 0; i < 10; i++) await turn()
    if (tries > 100) await new Promise(resolve => setTimeout(resolve, 5))
  }
}

/** Runs with the seeds from `first` on, several at a time. @throws the error of the first run that fails, with its seed. */
export async function runModels(first: number, runs: number): Promise<{ losses: number; recovered: number }> {
  const sum = { losses: 0, recovered: 0 }
  // The timers of the code under test do not keep the process alive.
  const alive = setInterval(() => {}, 1000)
  let next = first
  const worker = async () => {
    while (next < first + runs) {
      const seed = next++
      const { losses, recovered } = await runModel(seed).catch(error => {
        throw new Error(`run ${seed} fails`, { cause: error })
      })
      sum.losses += losses
      sum.recovered += recovered
    }
  }
  try {
    await Promise.all(Array.from({ length: 400 }, worker))
  } finally {
    clearInterval(alive)
  }
  return sum
}
