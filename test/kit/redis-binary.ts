import { spawnSync } from 'node:child_process'
import { accessSync, constants, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'

type Env = Readonly<Record<string, string | undefined>>

export const NO_REDIS = `no redis-server and no valkey-server on the PATH; the tests of storage "redis" need one, do one of these:
  install redis-server or valkey-server
  set REDIS_URL to a server on which tests may write
  docker run --rm -p 127.0.0.1:6379:6379 redis:7, with REDIS_URL=redis://127.0.0.1:6379`

/** The server that tests start; undefined: there is none. */
export function redisBinary(env: Env = process.env): string | undefined {
  return onPath('redis-server', env) ?? onPath('valkey-server', env)
}

function onPath(name: string, { PATH = '' }: Env): string | undefined {
  return PATH.split(delimiter)
    .filter(folder => folder !== '')
    .map(folder => join(folder, name))
    .find(isExecutable)
}

function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Sees to it, before the tests begin, that there is a Redis; what it did or what to do goes to standard error. */
export function provideRedis(env: Env = process.env): void {
  if (redisBinary(env) !== undefined || env.REDIS_URL) return
  const aptGet = process.getuid?.() === 0 ? onPath('apt-get', env) : undefined
  if (aptGet !== undefined) install(aptGet, env)
  if (redisBinary(env) === undefined) console.error(NO_REDIS)
}

/** Asked by Debian's packages before they start a service; 101 forbids it. */
const POLICY = '/usr/sbin/policy-rc.d'

function install(aptGet: string, env: Env): void {
  console.error('no redis-server on the PATH: installing the Debian package')
  const run = (program: string, ...args: string[]) => {
    // Of standard output it would be taken for a result of the tests.
    const stdio = ['ignore', 2, 2] as const
    return spawnSync(program, args, {
      env: { ...env, DEBIAN_FRONTEND: 'noninteractive' },
      stdio: [...stdio],
      timeout: 240_000,
    })
  }
  const ours = forbidServices()
  try {
    run(aptGet, 'update')
    run(aptGet, 'install', '-y', '--no-install-recommends', 'redis-server')
    // Nor at the next boot.
    const updateRc = onPath('update-rc.d', env)
    if (updateRc !== undefined && redisBinary(env) !== undefined) run(updateRc, 'redis-server', 'disable')
  } finally {
    if (ours) rmSync(POLICY, { force: true })
  }
}

/** False: the machine has a policy of its own, which stays. */
function forbidServices(): boolean {
  try {
    writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755, flag: 'wx' })
    return true
  } catch {
    return false
  }
}
