/** Buckets of 1.6% like HdrHistogram: exact below 128, then 64 per doubling. */
const SUB_BITS = 6
const SUB = 1 << SUB_BITS
const MOST = 2 ** 31 - 1

/** Counts integers, such as microseconds, in constant memory. */
export class Histogram {
  readonly #counts = new Uint32Array(indexOf(MOST) + 1)
  count = 0
  max = 0

  record(value: number): void {
    const integer = value < 0 ? 0 : value > MOST ? MOST : Math.floor(value)
    this.#counts[indexOf(integer)]!++
    this.count++
    if (integer > this.max) this.max = integer
  }

  /** The percentile of a share from 0 to 1, at most 1.6% too high; NaN without records. */
  percentile(share: number): number {
    if (this.count === 0) return Number.NaN
    let left = Math.max(1, Math.ceil(this.count * share))
    const bucket = this.#counts.findIndex(count => {
      left -= count
      return left <= 0
    })
    return Math.min(highest(bucket), this.max)
  }
}

function indexOf(value: number): number {
  const shift = Math.max(0, 31 - Math.clz32(value) - SUB_BITS)
  return (shift << SUB_BITS) + (value >> shift)
}

/** The largest value of a bucket. */
function highest(bucket: number): number {
  if (bucket < 2 * SUB) return bucket
  const shift = (bucket >> SUB_BITS) - 1
  return ((bucket & (SUB - 1)) + SUB + 1) * 2 ** shift - 1
}
