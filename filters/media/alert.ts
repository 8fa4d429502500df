import type { Alert, AlertLevel } from '../../protocols/nanollm/alert.ts'

export interface AlertOptions {
  /** Default: `warning`. */
  readonly level?: AlertLevel
  /** Default: none. */
  readonly category?: string
  /** Seconds for which pages show the alert. Default: 3.5. */
  readonly timeout?: number
}

export function createAlert(
  id: number,
  message: string,
  { level = 'warning', category = '', timeout = 3.5 }: AlertOptions = {},
): Alert {
  return { id, time: timeOf(new Date()), message, level, category, timeout: Math.round(timeout * 1000) }
}

function timeOf(now: Date): string {
  const [minutes, seconds] = [now.getMinutes(), now.getSeconds()].map(number => String(number).padStart(2, '0'))
  return `${now.getHours() % 12 || 12}:${minutes}:${seconds}`
}
