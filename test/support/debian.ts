import { spawnSync } from 'node:child_process'
import { accessSync, constants, rmSync, writeFileSync } from 'node:fs'
import { delimiter, join } from 'node:path'

export type Env = Readonly<Record<string, string | undefined>>

/** The path of a program on the PATH. */
export function onPath(name: string, { PATH = '' }: Env): string | undefined {
  return PATH.split(delimiter)
    .filter(folder => folder !== '')
    .map(folder => join(folder, name))
    .find(isExecutable)
}

/** Whether this process may execute the file. */
export function isExecutable(path: string): boolean {
  try {
    accessSync(path, constants.X_OK)
    return true
  } catch {
    return false
  }
}

/** Debian packages run it before they start a service; exit code 101 forbids the start. */
const POLICY = '/usr/sbin/policy-rc.d'

/** Installs a Debian package without starting its services, if this process is root and there is an apt-get. */
export function installDebian(name: string, env: Env): void {
  const aptGet = process.getuid?.() === 0 ? onPath('apt-get', env) : undefined
  if (aptGet === undefined) return
  console.error(`no ${name} on the PATH: installing the Debian package`)
  const isOwnPolicy = forbidServices()
  try {
    runQuietly(aptGet, ['update'], env)
    runQuietly(aptGet, ['install', '-y', '--no-install-recommends', name], env)
  } finally {
    if (isOwnPolicy) rmSync(POLICY, { force: true })
  }
}

/** Runs a program to its end, for at most 4 minutes. Its output goes to standard error, since standard output has the test results. */
export function runQuietly(program: string, args: readonly string[], env: Env): void {
  spawnSync(program, args, {
    env: { ...env, DEBIAN_FRONTEND: 'noninteractive' },
    stdio: ['ignore', 2, 2],
    timeout: 240_000,
  })
}

/** Returns false if the machine has its own policy, which is kept. */
function forbidServices(): boolean {
  try {
    writeFileSync(POLICY, '#!/bin/sh\nexit 101\n', { mode: 0o755, flag: 'wx' })
    return true
  } catch {
    return false
  }
}
