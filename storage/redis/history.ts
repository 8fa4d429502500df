import type { Entry, History, Payload } from 'filtered-websocket'
import type { Connection } from './connection.ts'
import { portable } from './text.ts'

/** Fields of a stream entry: which one it is tells what the payload was. */
const TEXT = 't'
const BINARY = 'b'

const APPEND = `
local id = redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[1], '*', ARGV[3], ARGV[4])
if ARGV[2] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return id`

export interface HistoryLimits {
  /** What keys begin with. */
  readonly key: string
  /** That each log keeps. */
  readonly entries: number
  /** Milliseconds after its last entry that a log is gone; 0: never. */
  readonly ttlMs: number
}

/** Streams. An id is the one that Redis gives (milliseconds, and a number within them), with digits added so that it sorts as a string. */
export class RedisHistory implements History {
  readonly entries: number
  readonly #connection: Connection
  readonly #limits: HistoryLimits

  constructor(connection: Connection, limits: HistoryLimits) {
    this.entries = limits.entries
    this.#connection = connection
    this.#limits = limits
  }

  async append(log: string, payload: Payload): Promise<string> {
    const { key, ttlMs } = this.#limits
    const field = typeof payload === 'string' ? TEXT : BINARY
    return sortable(
      String(await this.#connection.run('EVAL', APPEND, 1, key + portable(log), this.entries, ttlMs, field, payload)),
    )
  }

  async read(log: string, { after, limit }: { after?: string; limit?: number } = {}): Promise<readonly Entry[]> {
    if (limit !== undefined && limit < 1) return []
    const start = after === undefined || after === '' ? '-' : `(${streamId(after)}`
    const count = limit === undefined || limit === Number.POSITIVE_INFINITY ? [] : ['COUNT', Math.floor(limit)]
    const found = await this.#connection.runBuffer('XRANGE', this.#limits.key + portable(log), start, '+', ...count)
    return (found as [Buffer, [Buffer, Buffer]][]).map(([id, [field, value]]) => ({
      id: sortable(id.toString()),
      at: Number(id.toString().split('-')[0]),
      payload: field.toString() === TEXT ? value.toString() : value,
    }))
  }

  async trim(log: string, upTo: string): Promise<void> {
    const [ms, number] = streamId(upTo).split('-')
    await this.#connection.run('XTRIM', this.#limits.key + portable(log), 'MINID', `${ms}-${Number(number) + 1}`)
  }
}

function sortable(id: string): string {
  const [ms = '', number = ''] = id.split('-')
  return `${ms.padStart(15, '0')}-${number.padStart(10, '0')}`
}

/** @throws TypeError for what is no id of ours; the text may come from a client. */
function streamId(id: string): string {
  const [, ms, number] = /^0*(\d{1,15})-0*(\d{1,10})$/.exec(id) ?? []
  if (ms === undefined) throw new TypeError(`"${id.slice(0, 40)}" is no id of a history entry`)
  return `${ms}-${number}`
}
