/** Version of the protocol between the server and a program, see docs/reference/exec.md. */
export const VERSION = 1

/** The events that a program can get. */
export const EVENTS = ['connect', 'open', 'message', 'disconnect', 'consumer'] as const

export type ProgramEvent = (typeof EVENTS)[number]

/** An object that a program has written as a line. */
export type Line = Readonly<Record<string, unknown>>

/** Characters of a program's text in an error. */
const MAX_SHOWN = 200

/** A text or value of a program, for an error. */
export function excerpt(value: unknown): string {
  const text = typeof value === 'string' ? value : (JSON.stringify(value) ?? String(value))
  return text.length > MAX_SHOWN ? `${text.slice(0, MAX_SHOWN)}...` : text
}

/** The line of an event; `body` holds its other fields without braces. @param id - only of a question. */
export function lineOf(event: string, body: string, id?: number, isAgain = false): string {
  const head = id === undefined ? `{"event":"${event}"` : `{"event":"${event}","id":${id}`
  return `${head}${isAgain ? ',"again":true' : ''}${body === '' ? '' : `,${body}`}}\n`
}

/** @throws Error: an event that does not exist, or a guard that checks neither handshakes nor messages. */
export function readEvents(names: unknown, isGuard: boolean): ReadonlySet<ProgramEvent> {
  const all: readonly unknown[] = EVENTS
  if (!Array.isArray(names)) throw new Error(`"events" must be an array, received ${excerpt(names)}`)
  const wrong = names.find(name => !all.includes(name))
  if (wrong !== undefined) throw new Error(`events are ${EVENTS.join(', ')}, received ${excerpt(wrong)}`)
  if (isGuard && !names.includes('connect') && !names.includes('message'))
    throw new Error(`a guard needs the event connect or message, received ${excerpt(names)}`)
  return new Set(names)
}
