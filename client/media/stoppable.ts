/** An open device. */
export interface Stoppable {
  /** Settles when the device is released. */
  readonly closed: Promise<void>
  /** Releases the device; further calls have no effect. */
  stop(): void
}

/** Calls `release` once: at `stop` or when the signal aborts. */
export function createStoppable(release: () => Promise<void> | void, signal: AbortSignal | undefined): Stoppable {
  let settle = () => {}
  let isStopped = false
  const closed = new Promise<void>(resolve => {
    settle = resolve
  })
  const stop = () => {
    if (isStopped) return
    isStopped = true
    signal?.removeEventListener('abort', stop)
    Promise.resolve(release()).then(settle, settle)
  }
  if (signal?.aborted) stop()
  else signal?.addEventListener('abort', stop)
  return { closed, stop }
}
