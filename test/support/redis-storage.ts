import { randomUUID } from 'node:crypto'
import { pino } from 'pino'
import type { OpenStorage } from '../../src/index.ts'
import { open, options, type RedisOptions } from '../../storage/redis.ts'

export type Chosen = { -readonly [K in keyof RedisOptions]?: RedisOptions[K] }

export interface OpenedRedis extends OpenStorage {
  readonly instance: string
  /** Lines in the log, parsed. */
  readonly logged: readonly Record<string, unknown>[]
}

/** Storage `redis` as one node of a server opens it. */
export async function openRedis(chosen: Chosen): Promise<OpenedRedis> {
  const defaults = Object.entries(options).map(([name, spec]) => [name, 'default' in spec ? spec.default : undefined])
  const logged: Record<string, unknown>[] = []
  const log = pino({ level: 'debug', base: null }, { write: line => void logged.push(JSON.parse(line)) })
  const instance = randomUUID()
  const storage = await open({ options: { ...Object.fromEntries(defaults), ...chosen }, log, instance })
  return { ...storage, instance, logged }
}
