/** Functions by the type of the event that they get. */
export function listeners<Events>() {
  const byType = new Map<keyof Events, Set<(event: never) => void>>()
  return {
    /** @returns removes the listener. */
    add: <E extends keyof Events>(type: E, listener: (event: Events[E]) => void) => addTo(byType, type, listener),
    /** An error that a listener throws is reported as uncaught: it must not stop other listeners or the reconnect. */
    emit<E extends keyof Events>(type: E, event: Events[E]): void {
      for (const listener of [...(byType.get(type) ?? [])]) {
        try {
          listener(event as never)
        } catch (error) {
          queueMicrotask(() => {
            throw error
          })
        }
      }
    },
  }
}

/** Adds an item to the set of a name; empty sets are deleted. @returns removes the item. */
export function addTo<K, T>(sets: Map<K, Set<T>>, name: K, item: T): () => void {
  const set = sets.get(name) ?? new Set()
  sets.set(name, set.add(item))
  return () => {
    if (set.delete(item) && set.size === 0) sets.delete(name)
  }
}
