import type { Values } from 'filtered-websocket'
import type { Connection } from './connection.ts'
import { toUtf8Safe } from './utf8-safe.ts'

/** Only the first increment sets the time to live. */
const INCREMENT = `
local isNew = redis.call('EXISTS', KEYS[1]) == 0
redis.call('INCRBY', KEYS[1], ARGV[1])
if isNew and ARGV[2] ~= '' then redis.call('PEXPIRE', KEYS[1], ARGV[2]) end
return redis.call('GET', KEYS[1])`

/** Strings with PX, NX, INCRBY and GETDEL. */
export class RedisValues implements Values {
  readonly #connection: Connection
  readonly #prefix: string

  constructor(connection: Connection, prefix: string) {
    this.#connection = connection
    this.#prefix = prefix
  }

  async get(key: string): Promise<string | undefined> {
    return textOf(await this.#connection.run('GET', this.#prefix + toUtf8Safe(key)))
  }

  async set(key: string, value: string, { ttlMs, ifAbsent = false }: { ttlMs?: number; ifAbsent?: boolean } = {}) {
    const how = [...(ttlMs === undefined ? [] : ['PX', wholeMs(ttlMs)]), ...(ifAbsent ? ['NX'] : [])]
    return (await this.#connection.run('SET', this.#prefix + toUtf8Safe(key), value, ...how)) !== null
  }

  async increment(key: string, by = 1, ttlMs?: number): Promise<number> {
    if (!Number.isSafeInteger(by)) throw new TypeError(`value "${key}" is increased by an integer, received ${by}`)
    const ttl = ttlMs === undefined ? '' : wholeMs(ttlMs)
    return Number(await this.#connection.run('EVAL', INCREMENT, 1, this.#prefix + toUtf8Safe(key), by, ttl))
  }

  async take(key: string): Promise<string | undefined> {
    return textOf(await this.#connection.run('GETDEL', this.#prefix + toUtf8Safe(key)))
  }

  async delete(key: string): Promise<void> {
    await this.#connection.run('DEL', this.#prefix + toUtf8Safe(key))
  }
}

function textOf(reply: unknown): string | undefined {
  return reply === null ? undefined : String(reply)
}

/** Redis accepts integers from 1. */
function wholeMs(ttlMs: number): number {
  return Math.max(1, Math.ceil(ttlMs))
}
