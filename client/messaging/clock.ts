import { loadTiming } from './load-timing.ts'
import { type Asking, type Clock, here } from './server-time.ts'

export function clockOf(ask: Asking): Clock {
  const clock = {
    offset: 0,
    error: Infinity,
    now: () => here() + clock.offset,
    async sync() {
      Object.assign(clock, await (await loadTiming()).measure(ask))
    },
  }
  return clock
}
