import type { Streams } from '../../src/index.ts'
import {
  checkIdempotency,
  DelayedStreams,
  type IdempotencyCheck,
  type IdempotentNode,
} from '../../src/testing/index.ts'
import { IdempotencyNode, topicOf } from './idempotency-node.ts'

/** Two nodes and three senders at random, while nodes die, calls have no answer and records are lost. */
export function runIdempotency(engine: Streams, seed: number, unanswered = 0.05): Promise<IdempotencyCheck> {
  const first = new DelayedStreams(engine, { seed })
  const dead = new Set<string>()
  const start = (): IdempotentNode => {
    const streams = first.node()
    streams.faults.unanswered = unanswered
    const node = new IdempotencyNode(streams, dead)
    return {
      send: async (sender, n, isResent, run) => {
        const entered = node.store.enter(sender, 'e')
        try {
          return await entered.once(n, isResent, run)
        } finally {
          entered.leave()
        }
      },
      kill: () => {
        streams.away = 'silent'
        node.stop()
        dead.add(node.id)
      },
    }
  }
  return checkIdempotency({ seed, start, lose: sender => engine.remove(topicOf(sender, 'e')) })
}
