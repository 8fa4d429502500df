import { spawnSync } from 'node:child_process'
import { accessSync, constants, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'

export type Env = Readonly<Record<string, string | undefined>>

/** Where the PATH has a program; undefined: nowhere. */
export function onPath(name: string, { PATH = '' }: Env): string | undefined {
  return PATH.split(delimiter)
    .filter(folder => folder !== '')
    .map(folder => join(folder, name))
    .find(isExecutable)
}

/** Whether this is a program that we may start. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Asked by Debian's packages before they start a service; 101 forbids it. */
const POLICY = '/usr/sbin/policy-rc.d'

/**
 * Installs a Debian package, of which no service starts; where that is not ours to do (no root, no apt-get) it does nothing. What it
 * does goes to standard error.
 *
 * @param missing - what is not there, for the line that is printed.
 */
export function installDebian(name: string, missing: string, env: Env): void {
  const aptGet = process.getuid?.() === 0 ? onPath('apt-get', env) : undefined
  if (aptGet === undefined) return
  console.error(`no ${missing} on the PATH: installing the Debian package`)
  const ours = forbidServices()
  try {
    runQuietly(aptGet, ['update'], env)
    runQuietly(aptGet, ['install', '-y', '--no-install-recommends', name], env)
  } finally {
    if (ours) rmSync(POLICY, { force: true })
  }
}

/** Runs a program to its end, at most four minutes; of standard output it would be taken for a result of the tests. */
export function runQuietly(program: string, args: readonly string[], env: Env): void {
  spawnSync(program, args, {
    env: { ...env, DEBIAN_FRONTEND: 'noninteractive' },
    stdio: ['ignore', 2, 2],
    timeout: 240_000,
  })
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
