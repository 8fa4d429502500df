/** Who wants to hear of what: functions by the type of their event. */
export interface Listeners<Events> {
  /** Answers how to stop listening. */
  add<E extends keyof Events>(type: E, listener: (event: Events[E]) => void): () => void
  /** One listener that throws must not keep the others from hearing, nor the connection from coming back. */
  tell<E extends keyof Events>(type: E, event: Events[E]): void
}

export function listeners<Events>(): Listeners<Events> {
  const byType = new Map<keyof Events, Set<(event: never) => void>>()
  return {
    add: (type, listener) => addTo(byType, type, listener),
    tell(type, event) {
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

/** Adds to the set of a name, which is there as long as something is in it. Answers how to take it out. */
export function addTo<K, T>(sets: Map<K, Set<T>>, name: K, item: T): () => void {
  const set = sets.get(name) ?? new Set()
  sets.set(name, set.add(item))
  return () => {
    if (set.delete(item) && set.size === 0) sets.delete(name)
  }
}
