import type { Server } from 'filtered-websocket'

/** Seconds that the original waits, unless told. */
const DEFAULT_DELAY = 60
/** What a timer holds. */
const MAX_DELAY = 2_000_000

/**
 * The two procedures of every server that stop it (wslink, section 0); the official client calls the second when it is
 * destroyed, so they are always answered.
 *
 * @param serverOf - the server that may be stopped; `undefined`: nothing comes of it.
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
