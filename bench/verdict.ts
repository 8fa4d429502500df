// What a soak concludes from its samples.

export interface Sample {
  /** Minutes since the start. */
  readonly at: number
  /** Bytes. */
  readonly rss: number
}

export interface Outcome {
  /** Why the server no longer runs or answers. */
  readonly died?: string | undefined
  /** KiB of RSS per minute. */
  readonly slope: number
  readonly limit: number
  /** Clients that the server still counts after all have gone. */
  readonly left: number
}

/** Growth of RSS in KiB per minute over the last two thirds of the samples, by least squares; NaN with fewer than two samples. */
export function slopeOf(samples: readonly Sample[]): number {
  const late = samples.slice(Math.floor(samples.length / 3))
  const mean = (of: (sample: Sample) => number) => late.reduce((sum, sample) => sum + of(sample), 0) / late.length
  const [at, rss] = [mean(sample => sample.at), mean(sample => sample.rss)]
  const covariance = mean(sample => (sample.at - at) * (sample.rss - rss))
  return covariance / mean(sample => (sample.at - at) ** 2) / 1024
}

/** One sentence each; empty after a good run. */
export function failuresOf({ died, slope, limit, left }: Outcome): readonly string[] {
  if (died !== undefined) return [died]
  const failures: string[] = []
  if (slope > limit) failures.push(`RSS grows by ${Math.round(slope)} KiB/minute, more than --limit ${limit}`)
  if (left > 0) failures.push(`the server counts ${left} clients after all have gone`)
  return failures
}
