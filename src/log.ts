import { isatty } from 'node:tty'
import { destination, type Logger, pino } from 'pino'
import type { CoreOptions } from './options.ts'

const STDERR = 2
/** Bytes of log that may wait for its reader; what comes after is dropped. */
const MAX_WAITING = 1_048_576

/** Diagnostics to standard error: pretty in a terminal, JSON lines otherwise. */
export async function createLogger(options: Pick<CoreOptions, 'log-level' | 'log-format'>): Promise<Logger> {
  const { 'log-level': level, 'log-format': format } = options
  const settings = { level, base: null }
  if (format === 'json' || (format === 'auto' && !isatty(STDERR))) {
    // Not synchronous: whoever does not read the log must not stop the server.
    return pino(settings, destination({ fd: STDERR, sync: false, maxLength: MAX_WAITING }))
  }
  // Loaded only where somebody looks.
  const { default: pretty } = await import('pino-pretty')
  return pino(
    settings,
    pretty({ destination: STDERR, sync: true, colorize: isatty(STDERR), translateTime: 'HH:MM:ss.l' }),
  )
}
