/** Functions by the type of the event that they get. */
export function listeners<Events>() {
  const byType = new Map<keyof Events, Set<(event: never) => void>>()
  return {
    /** @returns removes the listener. */
    add<E extends keyof Events>(type: E, listener: (event: Events[E]) => void): () => void {
      const added = byType.get(type) ?? new Set()
      byType.set(type, added.add(listener))
      return () => added.delete(listener)
    },
    emit<E extends keyof Events>(type: E, event: Events[E]): void {
      for (const listener of [...(byType.get(type) ?? [])]) contain(() => listener(event as never))
    },
  }
}

/** Runs a listener. An error that it throws is reported as uncaught: it must not stop other listeners or the reconnect. */
export function contain(listener: () => void): void {
  try {
    listener()
  } catch (error) {
    queueMicrotask(() => {
      throw error
    })
  }
}
