/** Who wants to hear of what: functions by the type of their event. */
export class Listeners<Events> {
  readonly #byType = new Map<keyof Events, Set<(event: never) => void>>()

  /** Answers how to stop listening. */
  add<E extends keyof Events>(type: E, listener: (event: Events[E]) => void): () => void {
    const set = this.#byType.get(type) ?? new Set()
    this.#byType.set(type, set.add(listener))
    return () => void set.delete(listener)
  }

  /** One listener that throws must not keep the others from hearing, nor the connection from coming back. */
  tell<E extends keyof Events>(type: E, event: Events[E]): void {
    for (const listener of [...(this.#byType.get(type) ?? [])]) {
      try {
        listener(event as never)
      } catch (error) {
        queueMicrotask(() => {
          throw error
        })
      }
    }
  }
}
