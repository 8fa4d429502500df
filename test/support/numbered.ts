import { readFileSync } from 'node:fs'

/** One thing that was noted. */
export interface Noted {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly pid: number
  readonly event: 'said' | 'done' | 'answered' | 'failed'
  readonly kind: Kind
  readonly n: string
  /** Of what was done whether it was told that it may be a repeat; of what failed the code. */
  readonly more: unknown
}

/** The client's requests and its actions with answers; the server's kept actions and its requests. */
export type Kind = 'call' | 'deliver' | 'emit' | 'ask'

/** What became of all of a kind. */
export interface Tally {
  readonly said: number
  readonly done: number
  /** Times that something was done again and the handler was told that it may be so; or was not told. */
  readonly told: number
  readonly untold: number
  /** Answered, or waited for to the end by who lives, and never done. */
  readonly lost: number
  /** Whoever said it was told that it failed, and it was not done. */
  readonly refused: number
  /** Codes of all that failed. */
  readonly codes: readonly string[]
  /** Milliseconds of what took longest: until it was answered, of an emit until it was done. */
  readonly latest: number
  /** The last answer to what was said before an instant, in milliseconds behind it. */
  readonly recovered: number
  /** Of what is neither answered nor failed, by those who live. */
  readonly open: number
}

export function readNoted(log: string): readonly Noted[] {
  return readFileSync(log, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map(line => {
      const [at, pid, event, kind, n, more] = JSON.parse(line)
      return { at, pid, event, kind, n, more }
    })
}

interface Life {
  said?: Noted
  readonly done: Noted[]
  end?: Noted
}

/**
 * @param dead - processes that were killed: nobody waits for what they have said.
 * @param instant - when the fault was over, in milliseconds since 1970.
 */
export function tally(noted: readonly Noted[], kind: Kind, dead: ReadonlySet<number>, instant: number): Tally {
  const lives = new Map<string, Life>()
  for (const one of noted) {
    if (one.kind !== kind) continue
    const life: Life = lives.get(one.n) ?? { done: [] }
    lives.set(one.n, life)
    if (one.event === 'done') life.done.push(one)
    else if (one.event === 'said') life.said = one
    else life.end = one
  }
  const all = [...lives.values()]
  const again = all.flatMap(({ done }) => done.slice(1))
  const isOwed = ({ said, end }: Life) => end?.event === 'answered' || (end === undefined && !dead.has(said!.pid))
  const settled = ({ done, end }: Life) =>
    kind === 'emit' ? done[0]?.at : end?.event === 'answered' ? end.at : undefined
  return {
    said: all.length,
    done: all.filter(({ done }) => done.length > 0).length,
    told: again.filter(({ more }) => more === true).length,
    untold: again.filter(({ more }) => more !== true).length,
    lost: all.filter(life => life.done.length === 0 && isOwed(life)).length,
    refused: all.filter(({ done, end }) => done.length === 0 && end?.event === 'failed').length,
    codes: [...new Set(all.flatMap(({ end }) => (end?.event === 'failed' ? [String(end.more)] : [])))],
    latest: Math.max(0, ...all.map(life => (settled(life) ?? life.said!.at) - life.said!.at)),
    recovered: Math.max(0, ...all.map(life => (life.said!.at < instant ? (settled(life) ?? 0) - instant : 0))),
    open: all.filter(
      life =>
        !dead.has(life.said!.pid) &&
        (life.end === undefined || (kind === 'emit' && isOwed(life) && life.done.length === 0)),
    ).length,
  }
}
