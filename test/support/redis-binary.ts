import { type Env, installDebian, onPath, runQuietly } from './debian.ts'

/** Why tests of Redis are skipped, and what to do. */
export const NO_REDIS =
  'no redis-server and no valkey-server on the PATH: install one, or set REDIS_URL to a server that tests may write to'

/** The server that tests start; undefined: there is none. */
export function redisBinary(env: Env = process.env): string | undefined {
  return onPath('redis-server', env) ?? onPath('valkey-server', env)
}

/** Sees to it, before the tests begin, that there is a Redis; what it did or what to do goes to standard error. */
export function provideRedis(env: Env = process.env): void {
  if (redisBinary(env) !== undefined || env.REDIS_URL) return
  installDebian('redis-server', 'redis-server', env)
  if (redisBinary(env) === undefined) {
    console.error(NO_REDIS)
    return
  }
  // Nor at the next boot.
  const updateRc = onPath('update-rc.d', env)
  if (updateRc !== undefined) runQuietly(updateRc, ['redis-server', 'disable'], env)
}
