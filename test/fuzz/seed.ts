import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from '../support/root.ts'

/** Cases that failed once, by kind; they always run before the random ones. */
export function kept<T>(kind: 'configFiles' | 'frames' | 'handshakes' | 'options'): readonly T[] {
  return JSON.parse(readFileSync(join(root, 'test/fuzz/seeds.json'), 'utf8'))[kind]
}

/** A new seed each time; `FUZZ_SEED` repeats a failed run. */
export function chooseSeed(): number {
  const { FUZZ_SEED } = process.env
  return FUZZ_SEED === undefined ? Math.floor(Math.random() * 2 ** 31) : Number(FUZZ_SEED)
}
