import type { Logger } from 'pino'
import { isPromise } from '../contract/deadline.ts'
import type { LossReason, Position, StreamEntry, TopicWatcher } from '../contract/streams.ts'
import { RateLimitedLog } from '../kit/rate-limited-log.ts'

/** One call of `watch`. */
interface Watch {
  readonly topic: string
  readonly watcher: TopicWatcher
  /** `changed` is called in the next turn. */
  isChanged: boolean
  hasEnded: boolean
}

/** The watchers of a node, by topic. Their errors are logged, and the delivery to the members goes on. */
export class Watchers {
  readonly #log: RateLimitedLog
  readonly #watches = new Map<string, Set<Watch>>()

  constructor(log: Logger) {
    this.#log = new RateLimitedLog(log)
  }

  has(topic: string): boolean {
    return this.#watches.has(topic)
  }

  add(topic: string, watcher: TopicWatcher): Watch {
    const watch: Watch = { topic, watcher, isChanged: false, hasEnded: false }
    const watches = this.#watches.get(topic)
    if (watches === undefined) this.#watches.set(topic, new Set([watch]))
    else watches.add(watch)
    return watch
  }

  remove(watch: Watch): void {
    const watches = this.#watches.get(watch.topic)
    watch.hasEnded = true
    watches?.delete(watch)
    if (watches?.size === 0) this.#watches.delete(watch.topic)
  }

  clear(): void {
    for (const watches of this.#watches.values()) for (const watch of watches) watch.hasEnded = true
    this.#watches.clear()
  }

  entry(topic: string, entry: StreamEntry, position: Position): void {
    for (const watch of this.#of(topic)) this.#call(watch, ({ watcher }) => watcher.entry?.(entry, position))
  }

  lost(topic: string, position: Position, reason: LossReason): void {
    for (const watch of this.#of(topic)) this.#call(watch, ({ watcher }) => watcher.lost?.(position, reason))
  }

  changed(topic: string): void {
    for (const watch of this.#of(topic)) this.notify(watch)
  }

  /** Calls `changed` once for all changes of a turn. */
  notify(watch: Watch): void {
    if (watch.isChanged || watch.watcher.changed === undefined) return
    watch.isChanged = true
    setImmediate(() => {
      watch.isChanged = false
      this.#call(watch, ({ watcher }) => watcher.changed?.())
    })
  }

  /** A copy: a watcher may begin or end watches. */
  #of(topic: string): readonly Watch[] {
    const watches = this.#watches.get(topic)
    return watches === undefined ? NO_WATCHES : [...watches]
  }

  #call(watch: Watch, call: (watch: Watch) => unknown): void {
    if (watch.hasEnded) return
    const failed = (err: unknown) =>
      this.#log.add('error', { err, topic: watch.topic }, 'a watcher of a kept topic failed')
    try {
      const result = call(watch)
      if (isPromise(result)) (result as Promise<unknown>).then(undefined, failed)
    } catch (error) {
      failed(error)
    }
  }
}

const NO_WATCHES: readonly Watch[] = []
