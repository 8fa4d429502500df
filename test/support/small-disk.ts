import { execFileSync } from 'node:child_process'
import { mkdtempSync, rmdirSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { TestContext } from 'node:test'

/** A folder on a file system of `bytes`; `undefined` if it cannot be mounted. */
export function smallDisk(t: TestContext, bytes: number): string | undefined {
  const path = mkdtempSync(join(tmpdir(), 'fws-'))
  try {
    execFileSync('mount', ['-t', 'tmpfs', '-o', `size=${bytes}`, 'none', path], { stdio: 'ignore' })
  } catch {
    rmdirSync(path)
    return undefined
  }
  t.after(() => {
    execFileSync('umount', [path])
    rmdirSync(path)
  })
  return path
}
