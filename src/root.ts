import { readFileSync } from 'node:fs'
import { extname } from 'node:path'

// The only file that knows the location of this package on disk.

/** URL of the folder with `src`, `filters` and `storage`: the checkout if run from source, else `dist`. Ends with a slash. */
export const ROOT = new URL('../', import.meta.url)

/** Extension of the package's own modules: `.ts` if run from source, else `.js`. */
export const EXTENSION = extname(import.meta.url)

/** The version in `package.json`, or `unknown`. */
export function ownVersion(): string {
  // package.json is in the checkout, one folder above dist.
  for (const path of ['package.json', '../package.json']) {
    try {
      return JSON.parse(readFileSync(new URL(path, ROOT), 'utf8')).version
    } catch {}
  }
  return 'unknown'
}
