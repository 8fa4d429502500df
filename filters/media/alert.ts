/** What the original browser pages show to their users (nanollm-webserver, section 6). */
export interface Alert {
  /** Counts the alerts of a server, from 0. */
  readonly id: number
  /** Of the server's clock: `9:41:07`, in 12 hours. */
  readonly time: string
  readonly message: string
  readonly level: AlertLevel
  readonly category: string
  /** Milliseconds that it is to be shown. */
  readonly timeout: number
}
export type AlertLevel = 'warning' | 'error' | 'success' | 'info'

export interface AlertOptions {
  /** Default: warning. */
  readonly level?: AlertLevel
  /** Default: none. */
  readonly category?: string
  /** Seconds that it is to be shown; default 3.5. */
  readonly timeout?: number
}

export function alertOf(
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
