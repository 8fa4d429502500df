import assert from 'node:assert/strict'

/** Measures how much processor time work takes without a turn of the event loop, in milliseconds. */
export function slices() {
  const lengths: number[] = []
  let began: NodeJS.CpuUsage | undefined
  return {
    /** Does some work, so that all of it in one go takes far longer than a slice. */
    work(ms: number): void {
      const end = performance.now() + ms
      if (began === undefined) {
        began = process.cpuUsage()
        lengths.push(0)
        setImmediate(() => {
          began = undefined
        })
      }
      while (performance.now() < end);
      const { user, system } = process.cpuUsage(began)
      lengths[lengths.length - 1] = (user + system) / 1000
    },
    /** Slices take 1 ms. The longest may have had a garbage collection, whose threads count too. */
    check(): void {
      const sorted = lengths.toSorted((a, b) => a - b)
      const at = (part: number) => sorted[Math.floor(part * (sorted.length - 1))]!
      const measured = `${at(0.5)}, ${at(0.99)}, ${at(1)} ms of ${sorted.length} slices`
      assert.ok(sorted.length > 50 && at(0.5) < 2 && at(0.99) < 5 && at(1) < 200, measured)
    },
  }
}
