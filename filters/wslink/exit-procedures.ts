import type { Server } from 'filtered-websocket'

/** Seconds; the default of wslink (Python). */
const DEFAULT_DELAY = 60
/** Seconds; timers have a limit of 24 days. */
const MAX_DELAY = 2_000_000

/**
 * The procedures `exit` and `exit.later` (wslink, section 0). They always exist, since the official client calls the second one
 * when it is destroyed.
 *
 * @param serverOf - returns the server to stop, or `undefined` if clients may not stop it.
 */
export function exitProcedures(serverOf: () => Server | undefined) {
  let timer: NodeJS.Timeout | undefined
  const stop = () => serverOf()?.stop('a client called application.exit')
  const procedures = {
    exit: stop,
    'exit.later': (seconds: unknown = DEFAULT_DELAY) => {
      clearTimeout(timer)
      const delay = typeof seconds === 'number' && seconds >= 0 ? Math.min(seconds, MAX_DELAY) : DEFAULT_DELAY
      if (serverOf() !== undefined) timer = setTimeout(stop, delay * 1000).unref()
    },
  }
  return { procedures, cancel: () => clearTimeout(timer) }
}
