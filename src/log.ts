import { isatty } from 'node:tty'
import { destination, type Logger, pino } from 'pino'
import type { CoreOptions } from './options.ts'

const STDERR = 2

/** Diagnostics to standard error: pretty in a terminal, JSON lines otherwise. */
export async function createLogger(options: Pick<CoreOptions, 'log-level' | 'log-format'>): Promise<Logger> {
  const { 'log-level': level, 'log-format': format } = options
  const settings = { level, base: null }
  if (format === 'json' || (format === 'auto' && !isatty(STDERR)))
    return pino(settings, destination({ fd: STDERR, sync: true }))
  // Loaded only where somebody looks.
  const { default: pretty } = await import('pino-pretty')
  return pino(
    settings,
    pretty({ destination: STDERR, sync: true, colorize: isatty(STDERR), translateTime: 'HH:MM:ss.l' }),
  )
}
