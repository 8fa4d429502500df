import { readFileSync } from 'node:fs'

/** A record in the log of all processes. */
export interface LogRecord {
  /** Milliseconds since 1970. */
  readonly at: number
  readonly pid: number
  /** `done` begins the work on a message, `worked` ends it. */
  readonly event: 'said' | 'done' | 'worked' | 'answered' | 'failed'
  readonly kind: Kind
  readonly n: string
  /** For `done`, `repeated` of the delivery; for `failed`, the error code. */
  readonly more: unknown
}

/** Requests and confirmed actions of the client; queued actions and requests of the server. */
export type Kind = 'call' | 'deliver' | 'emit' | 'ask'

/** Counts for one kind. */
export interface Tally {
  readonly said: number
  readonly done: number
  /** Repeated deliveries with `repeated: true`, and without. */
  readonly reported: number
  readonly unreported: number
  /** Answered, or awaited by a live process, and never handled. */
  readonly lost: number
  /** Failed for the sender, and not handled. */
  readonly refused: number
  /** Error codes. */
  readonly codes: readonly string[]
  /** Longest time to the response in milliseconds; for an emit, to the handling. */
  readonly latest: number
  /** Milliseconds from an instant to the last response to an earlier message. */
  readonly recovered: number
  /** Messages of live processes without a response or an error. */
  readonly open: number
}

export function readRecords(log: string): readonly LogRecord[] {
  return readFileSync(log, 'utf8')
    .split('\n')
    .slice(0, -1)
    .map(line => {
      const [at, pid, event, kind, n, more] = JSON.parse(line)
      return { at, pid, event, kind, n, more }
    })
}

interface Message {
  said?: LogRecord
  readonly done: LogRecord[]
  end?: LogRecord
}

/**
 * @param dead - killed processes, which do not wait for responses.
 * @param instant - the end of the fault, in milliseconds since 1970.
 */
export function tally(records: readonly LogRecord[], kind: Kind, dead: ReadonlySet<number>, instant: number): Tally {
  const messages = new Map<string, Message>()
  for (const one of records) {
    if (one.kind !== kind || one.event === 'worked') continue
    const message: Message = messages.get(one.n) ?? { done: [] }
    messages.set(one.n, message)
    if (one.event === 'done') message.done.push(one)
    else if (one.event === 'said') message.said = one
    else message.end = one
  }
  const all = [...messages.values()]
  const again = all.flatMap(({ done }) => done.slice(1))
  const isExpected = ({ said, end }: Message) =>
    end?.event === 'answered' || (end === undefined && !dead.has(said!.pid))
  const settled = ({ done, end }: Message) =>
    kind === 'emit' ? done[0]?.at : end?.event === 'answered' ? end.at : undefined
  return {
    said: all.length,
    done: all.filter(({ done }) => done.length > 0).length,
    reported: again.filter(({ more }) => more === true).length,
    unreported: again.filter(({ more }) => more !== true).length,
    lost: all.filter(message => message.done.length === 0 && isExpected(message)).length,
    refused: all.filter(({ done, end }) => done.length === 0 && end?.event === 'failed').length,
    codes: [...new Set(all.flatMap(({ end }) => (end?.event === 'failed' ? [String(end.more)] : [])))],
    latest: Math.max(0, ...all.map(message => (settled(message) ?? message.said!.at) - message.said!.at)),
    recovered: Math.max(0, ...all.map(message => (message.said!.at < instant ? (settled(message) ?? 0) - instant : 0))),
    open: all.filter(
      message =>
        !dead.has(message.said!.pid) &&
        (message.end === undefined || (kind === 'emit' && isExpected(message) && message.done.length === 0)),
    ).length,
  }
}
