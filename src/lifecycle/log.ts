import type { Writable } from 'node:stream'
import { type Logger, pino } from 'pino'
import type { CoreOptions } from '../config/options.ts'
import { visible } from '../kit/visible.ts'
import { BoundedOutput } from './output.ts'

/**
 * Pretty in a terminal, JSON lines otherwise. A stalled reader loses lines; it costs no memory and does not block the server.
 *
 * @param mayColor - whether a terminal gets colors.
 */
export async function createLogger(
  { 'log-level': level, 'log-format': format }: Pick<CoreOptions, 'log-level' | 'log-format'>,
  stream: Writable & { readonly isTTY?: boolean },
  mayColor = true,
): Promise<Logger> {
  const settings = { level, base: null }
  const output = new BoundedOutput(stream, () => {})
  if (format === 'json' || (format === 'auto' && !stream.isTTY)) return pino(settings, output)
  // Loaded for terminals only.
  const { prettyFactory } = await import('pino-pretty')
  const pretty = prettyFactory({
    colorize: mayColor && stream.isTTY === true,
    singleLine: true,
    translateTime: 'HH:MM:ss.l',
  })
  const shown = (_: string, value: unknown) => (typeof value === 'string' ? visible(value) : value)
  return pino(settings, { write: line => output.write(pretty(JSON.parse(line, shown))) })
}
