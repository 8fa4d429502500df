import { join } from 'node:path'
import { built, type Launched } from './cli.ts'
import { body, metricsOf } from './metrics.ts'
import { until } from './peer.ts'
import { root } from './root.ts'

/** Growth in bytes that is not a leak: caches, pools, memory that the garbage collector keeps. */
const HEAP_NOISE = 16_000_000
const RSS_NOISE = 128_000_000

/** For `launch`: a server that reports its resources; more filters may follow. */
export const watched = {
  argv: watchedArgv(),
  command: ['--expose-gc', ...built],
}

/** The arguments with guards before the filters. */
export function watchedArgv(...guards: readonly string[]): string[] {
  const resources = join(root, 'test/support/filters/resources.ts')
  return ['--port', '0', '--health-port', '0', '-f', ...guards, 'health', resources]
}

export interface Resources {
  /** Handles and timers by kind, including the connection of the request. */
  readonly handles: Readonly<Record<string, number>>
  readonly rss: number
  readonly heapUsed: number
}

/** The current resources of a watched server. */
export async function resourcesOf(server: Launched): Promise<Resources> {
  return JSON.parse(await body(`${server.url.replace('ws', 'http')}/resources`))
}

/** Waits until a server has no clients, and no more handles and memory than before. */
export async function recovered(server: Launched, before: Resources, ms?: number): Promise<void> {
  let state = ''
  const isBack = async () => {
    const clients = (await metricsOf(server)).get('fws_clients')
    const { handles, rss, heapUsed } = await resourcesOf(server)
    state = JSON.stringify({ clients, handles, rss, heapUsed })
    return (
      clients === 0 &&
      Object.keys(handles).every(kind => handles[kind]! <= (before.handles[kind] ?? 0)) &&
      heapUsed < before.heapUsed + HEAP_NOISE &&
      rss < before.rss + RSS_NOISE
    )
  }
  try {
    await until(isBack, 'the earlier resources', ms)
  } catch (error) {
    throw new Error(`${(error as Error).message}\nbefore ${JSON.stringify(before)}\nnow ${state}`)
  }
}
