import assert from 'node:assert/strict'
import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Awaitable } from '../contract/deadline.ts'
import { randomFrom } from './random-from.ts'

/** Steps of a request between its begin and its end, at most. */
const MAX_TURNS = 8
const NODES = 2
const SENDERS = 3

/** A node that runs each request once. */
export interface IdempotentNode {
  /**
   * Sends request `n` of a sender to the node, which calls `run` unless it has run. Resolves with the outcome; rejects if the sender has
   * to send it again.
   */
  send(sender: string, n: number, isResent: boolean, run: (repeated: boolean) => Promise<string>): Promise<unknown>
  /** Ends the node as SIGKILL does. Other nodes MUST learn that it is dead. */
  kill(): Awaitable<void>
}

export interface IdempotencyCheckOptions {
  /** The same seed gives the same choices. */
  readonly seed: number
  /** Requests of a sender that are unanswered at a time, and of each of three senders in all. Default: 4 and 40. */
  readonly window?: number
  readonly requests?: number
  /** Starts a node; all share a storage. */
  start(): Awaitable<IdempotentNode>
  /** Deletes the records of a sender. Default: they are not lost. */
  lose?(sender: string): Awaitable<void>
}

/** What happened during a check. */
export interface IdempotencyCheck {
  readonly runs: number
  readonly repeated: number
  readonly kills: number
  readonly losses: number
}

/** A node or a connection, which ends. */
interface Ending {
  hasEnded: boolean
  /** Rejects at the end. */
  readonly ended: Promise<never>
  readonly end: () => void
}

interface Place extends Ending {
  readonly node: IdempotentNode
}

interface Connection extends Ending {
  readonly place: Place
}

/**
 * Sends requests of three senders to two nodes at random, again after each error and each death of a node. Checks that each gets the
 * outcome of one of its runs, and that no run but the first one is without `repeated`.
 *
 * @throws (rejects) AssertionError
 * @example
 * await checkIdempotency({ seed: 1, start: () => startNode(redis) })
 */
export async function checkIdempotency(options: IdempotencyCheckOptions): Promise<IdempotencyCheck> {
  const { seed, window = 4, requests = 40, start, lose } = options
  const random = randomFrom(seed)
  const below = (count: number) => Math.floor(random() * count)
  const places = await Promise.all(Array.from({ length: NODES }, async () => placeOf(await start())))
  const counts = { runs: 0, repeated: 0, kills: 0, losses: 0 }
  let open = SENDERS

  /** The connection of a sender; the requests that are unanswered at its end are sent again on the next one. */
  const connections = new Map<string, Connection>()
  function connectionOf(sender: string): Connection {
    const known = connections.get(sender)
    if (known !== undefined && !known.hasEnded && !known.place.hasEnded) return known
    const connection = Object.assign(endingOf(), { place: places[below(NODES)]! })
    connections.set(sender, connection)
    return connection
  }

  async function request(sender: string, n: number): Promise<void> {
    const outcomes = new Set<string>()
    let runs = 0
    for (let isResent = false; open > 0; isResent = true) {
      const connection = connectionOf(sender)
      const { place } = connection
      const run = async (repeated: boolean) => {
        const outcome = `${sender} ${n} ${++runs}`
        assert.ok(runs === 1 || repeated, `seed ${seed}: request ${n} of ${sender} runs again without repeated`)
        counts.runs++
        if (repeated) counts.repeated++
        for (let turns = below(MAX_TURNS); turns > 0; turns--) await nextTurn()
        if (place.hasEnded) return new Promise<never>(() => {})
        outcomes.add(outcome)
        return outcome
      }
      const sent = place.node.send(sender, n, isResent, run)
      if (random() < 0.1) void nextTurn().then(connection.end)
      try {
        const outcome = await Promise.race([sent, place.ended, connection.ended])
        assert.ok(outcomes.has(String(outcome)), `seed ${seed}: request ${n} of ${sender} gets ${outcome}`)
        return
      } catch (error) {
        if (error instanceof assert.AssertionError) throw error
        sent.catch(() => {})
        await nextTurn()
      }
    }
  }

  /** As many requests as the window allows; the number of each is below the first unanswered one plus `window`. */
  async function runSender(sender: string): Promise<void> {
    const unanswered = new Map<number, Promise<void>>()
    for (let n = 1; n <= requests; n++) {
      for (let first = n; ; ) {
        for (const number of unanswered.keys()) first = Math.min(first, number)
        if (n < first + window) break
        await unanswered.get(first)
        first = n
      }
      unanswered.set(
        n,
        request(sender, n).then(() => void unanswered.delete(n)),
      )
      if (random() < 0.5) await nextTurn()
    }
    await Promise.all(unanswered.values())
    open--
  }

  async function disturb(): Promise<void> {
    while (open > 0) {
      for (let turns = below(200); turns > 0; turns--) await nextTurn()
      if (lose !== undefined && random() < 0.3) {
        counts.losses++
        await lose(`sender ${below(SENDERS)}`)
      } else {
        counts.kills++
        const at = below(NODES)
        const place = places[at]!
        place.end()
        await place.node.kill()
        places[at] = placeOf(await start())
      }
    }
  }

  try {
    const senders = Array.from({ length: SENDERS }, (_, i) => runSender(`sender ${i}`))
    await Promise.all([...senders, disturb()])
  } finally {
    open = 0
    for (const { node } of places) await node.kill()
  }
  return counts
}

function placeOf(node: IdempotentNode): Place {
  return Object.assign(endingOf(), { node })
}

function endingOf(): Ending {
  let reject = (_: Error) => {}
  const ended = new Promise<never>((_, no) => {
    reject = no
  })
  ended.catch(() => {})
  const ending = {
    hasEnded: false,
    ended,
    end: () => {
      ending.hasEnded = true
      reject(new Error('the connection has ended'))
    },
  }
  return ending
}
