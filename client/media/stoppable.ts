/** The end of what holds a device: told from outside, by a signal, or by the device itself. */
export interface Ending {
  /** Settles when all is released. */
  readonly closed: Promise<void>
  /** Once; again does nothing. */
  stop(): void
}

/** Releases once, at `stop` or with the signal, whichever is first. */
export function endingOf(release: () => Promise<void> | void, signal: AbortSignal | undefined): Ending {
  let settle = () => {}
  let isOver = false
  const closed = new Promise<void>(resolve => {
    settle = resolve
  })
  const stop = () => {
    if (isOver) return
    isOver = true
    signal?.removeEventListener('abort', stop)
    Promise.resolve(release()).then(settle, settle)
  }
  if (signal?.aborted) stop()
  else signal?.addEventListener('abort', stop)
  return { closed, stop }
}
