/** All that only those need who ask for the time, or are to do something at an instant; as `loadFiles`. */
export function loadTiming(): Promise<typeof import('./timing.ts')> {
  return import('./timing.ts')
}
