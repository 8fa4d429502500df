import { type Logger, pino } from 'pino'

/** A log that keeps its parsed lines in an array. */
export function collectedLog(): { readonly log: Logger; readonly logged: Record<string, unknown>[] } {
  const logged: Record<string, unknown>[] = []
  const log = pino({ level: 'debug', base: null }, { write: line => void logged.push(JSON.parse(line)) })
  return { log, logged }
}
