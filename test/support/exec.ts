import { folder, type Test } from './cli.ts'

/** Reads events as lines; `handle` gets each one, and `write` writes an object as a line. */
const PRELUDE = `
import { createInterface } from 'node:readline'
const write = line => process.stdout.write(JSON.stringify(line) + '\\n')
const hello = (...events) => event => event.event === 'hello' && write({ hello: 1, events })
export const state = {}
`
const LOOP = `
for await (const line of createInterface({ input: process.stdin })) await handle(JSON.parse(line))
`

/**
 * The name of a filter that runs a program: JavaScript that defines `handle(event)`, with `write(object)` and
 * `hello(...events)(event)`.
 *
 * @example
 * await serve(t, { filters: [execOf(t, `const handle = ({ id }) => id && write({ id })`), 'echo'] })
 */
export function execOf(t: Test, code: string, as = 'exec'): string {
  return `${as}:${process.execPath} ${programOf(t, `${PRELUDE}${code}${LOOP}`)}`
}

/** A file of a program in JavaScript. */
export function programOf(t: Test, code: string): string {
  return `${folder(t, { 'program.mjs': code })}/program.mjs`
}
