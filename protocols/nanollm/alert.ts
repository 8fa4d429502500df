/** Severity of an alert. */
export type AlertLevel = 'warning' | 'error' | 'success' | 'info'

/** A message of the server that pages show to their users (nanollm-webserver, section 6). */
export interface Alert {
  /** Number of the alert on its server, from 0. */
  readonly id: number
  /** Local time of the server on a 12-hour clock, such as `9:41:07`. */
  readonly time: string
  readonly message: string
  readonly level: AlertLevel
  readonly category: string
  /** Milliseconds for which pages show the alert. */
  readonly timeout: number
}
