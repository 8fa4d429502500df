import type { Entry, History, Payload } from 'filtered-websocket'
import type { Connection } from './connection.ts'
import { toUtf8Safe } from './utf8-safe.ts'

/** The field of a stream entry, by the type of the payload. */
const TEXT = 't'
const BINARY = 'b'

const APPEND = `
local id = redis.call('XADD', KEYS[1], 'MAXLEN', ARGV[1], '*', ARGV[3], ARGV[4])
if ARGV[2] ~= '0' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return id`

export interface HistoryLimits {
  /** Prefix of the keys. */
  readonly key: string
  /** Entries kept per log. */
  readonly entries: number
  /** Milliseconds from the last append until a log expires; 0 disables expiry. */
  readonly ttlMs: number
}

/** Logs as Redis streams. Ids are those of Redis (milliseconds and a sequence number), padded so that they sort as strings. */
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
      String(await this.#connection.run('EVAL', APPEND, 1, key + toUtf8Safe(log), this.entries, ttlMs, field, payload)),
    )
  }

  async read(
    log: string,
    { after, limit, newest = false }: { after?: string; limit?: number; newest?: boolean } = {},
  ): Promise<readonly Entry[]> {
    if (limit !== undefined && limit < 1) return []
    const start = after === undefined || after === '' ? '-' : `(${streamId(after)}`
    const count = limit === undefined || limit === Number.POSITIVE_INFINITY ? [] : ['COUNT', Math.floor(limit)]
    const range = newest ? (['XREVRANGE', '+', start] as const) : (['XRANGE', start, '+'] as const)
    const [command, ...ends] = range
    const found = (await this.#connection.runBuffer(
      command,
      this.#limits.key + toUtf8Safe(log),
      ...ends,
      ...count,
    )) as [Buffer, [Buffer, Buffer]][]
    return (newest ? found.reverse() : found).map(([id, [field, value]]) => ({
      id: sortable(id.toString()),
      at: Number(id.toString().split('-')[0]),
      payload: field.toString() === TEXT ? value.toString() : value,
    }))
  }

  async trim(log: string, upTo: string): Promise<void> {
    const [ms, number] = streamId(upTo).split('-')
    await this.#connection.run('XTRIM', this.#limits.key + toUtf8Safe(log), 'MINID', `${ms}-${Number(number) + 1}`)
  }
}

function sortable(id: string): string {
  const [ms = '', number = ''] = id.split('-')
  return `${ms.padStart(15, '0')}-${number.padStart(10, '0')}`
}

/** @throws TypeError for an invalid id, which may come from a client. */
function streamId(id: string): string {
  const [, ms, number] = /^0*(\d{1,15})-0*(\d{1,10})$/.exec(id) ?? []
  if (ms === undefined) throw new TypeError(`"${id.slice(0, 40)}" is not the id of a history entry`)
  return `${ms}-${number}`
}
