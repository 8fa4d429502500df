import { spawnSync } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'

/** Installs the other servers if this package is missing, so that `npm install` does not. */
export function installPeers(needed: string): void {
  if (existsSync(join(import.meta.dirname, 'node_modules', needed))) return
  const { status } = spawnSync('npm', ['ci'], { cwd: import.meta.dirname, stdio: 'inherit' })
  if (status !== 0) process.exit(1)
}
