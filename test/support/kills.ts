import { setTimeout as sleep } from 'node:timers/promises'
import { faults } from './kill-faults.ts'
import { KillScene } from './kill-scene.ts'
import type { Kind, Tally } from './numbered.ts'

export interface KillOptions {
  readonly over: 'tcp' | 'ws'
  readonly rate: number
  /** Milliseconds before and after the fault. */
  readonly calm: number
  /** Milliseconds for all answers. */
  readonly deadline: number
}

/** The result for each kind of message. */
export type Outcome = Readonly<Record<Kind, Tally>>

/** Runs a fault while servers and a client exchange messages. */
export async function endure(name: string, { over, rate, calm, deadline }: KillOptions): Promise<Outcome> {
  const fault = faults[name]!
  const scene = await KillScene.open({ ...fault, over, rate })
  try {
    await sleep(calm)
    await fault.run(scene)
    const ended = Date.now()
    await sleep(calm)
    await scene.settle(deadline)
    const of = (kind: Kind) => scene.tally(kind, ended)
    return { call: of('call'), deliver: of('deliver'), emit: of('emit'), ask: of('ask') }
  } finally {
    await scene.close()
  }
}

/** Violations of the delivery guarantees, one string each. */
export function broken(name: string, outcome: Outcome): readonly string[] {
  const { loses, fails = [] } = faults[name]!
  return Object.entries(outcome).flatMap(([kind, { said, done, unreported, lost, open, codes }]) => {
    const others = codes.filter(code => !fails.includes(code))
    const mayLose = loses?.kinds.includes(kind as Kind)
    return [
      said === 0 && 'no message was sent',
      done === 0 && 'no message was handled',
      unreported > 0 && `${unreported} handled twice without "repeated"`,
      lost > 0 && !mayLose && `${lost} lost`,
      open > 0 && !mayLose && `${open} without a response`,
      others.length > 0 && `failed with ${others}`,
    ].flatMap(problem => (problem === false ? [] : [`${name}: ${kind}: ${problem}`]))
  })
}
