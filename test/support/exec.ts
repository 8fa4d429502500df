import { folder, type Test } from './cli.ts'

/** Reads events as lines; `handle` gets each one, and `write` writes an object as a line. */
const PRELUDE = `
import { createInterface } from 'node:readline'
const write = line => process.stdout.write(JSON.stringify(line) + '\\n')
const hello = (...events) => event => event.event === 'hello' && write({ hello: 1, events })
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
  const path = folder(t, { 'program.mjs': `${PRELUDE}${code}${LOOP}` })
  return `${as}:${process.execPath} ${path}/program.mjs`
}

/** The name of a filter whose program answers each message with an object, an expression of `id`, `data` and `binary`. */
export function answering(t: Test, verdict: string): string {
  const code = `const handle = event => {
    hello('message')(event)
    const { id, data, binary } = event
    if (id) write({ id, ...${verdict} })
  }`
  return execOf(t, code)
}
