import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { root } from './cli.ts'

const FLEET = join(root, 'examples/fleet')
export const SAMPLES = ['circle.csv', 'figure-eight.csv']

/** A path of the example. */
export function sample(name: string): string {
  return readFileSync(join(FLEET, 'paths', name), 'utf8')
}
