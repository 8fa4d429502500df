import { randomUUID } from 'node:crypto'
import type { OpenStorage } from '../../src/index.ts'
import { open, options, type RedisOptions } from '../../storage/redis.ts'
import { collectedLog } from './log.ts'

export type Chosen = { -readonly [K in keyof RedisOptions]?: RedisOptions[K] }

export interface OpenedRedis extends OpenStorage {
  readonly instance: string
  /** Parsed log lines. */
  readonly logged: readonly Record<string, unknown>[]
}

/** Opens storage `redis` as a node does. */
export async function openRedis(chosen: Chosen): Promise<OpenedRedis> {
  const defaults = Object.entries(options).map(([name, spec]) => [name, 'default' in spec ? spec.default : undefined])
  const { log, logged } = collectedLog()
  const instance = randomUUID()
  const storage = await open({ options: { ...Object.fromEntries(defaults), ...chosen }, log, instance })
  return { ...storage, instance, logged }
}
