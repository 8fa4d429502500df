import { type Env, installDebian, onPath, runQuietly } from './debian.ts'

/** Reason to skip tests of Redis, with what to do. */
export const NO_REDIS =
  'no redis-server and no valkey-server on the PATH: install one, or set REDIS_URL to a server that tests may write to'

/** The program that tests start; `undefined` if there is none. */
export function redisBinary(env: Env = process.env): string | undefined {
  return onPath('redis-server', env) ?? onPath('valkey-server', env)
}

/** Installs Redis if it is missing, or prints what to do. */
export function installRedis(env: Env = process.env): void {
  if (redisBinary(env) !== undefined || env.REDIS_URL) return
  installDebian('redis-server', env)
  if (redisBinary(env) === undefined) {
    console.error(NO_REDIS)
    return
  }
  // It must not start at boot.
  const updateRc = onPath('update-rc.d', env)
  if (updateRc !== undefined) runQuietly(updateRc, ['redis-server', 'disable'], env)
}
