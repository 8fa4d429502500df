import { type Call, type Clock, localTime } from './server-time.ts'

export function clockOf(call: Call): Clock {
  const clock = {
    offset: 0,
    error: Infinity,
    now: () => localTime() + clock.offset,
    async sync() {
      Object.assign(clock, await (await import('./timing.ts')).measure(call))
    },
  }
  return clock
}
