import { describe, it } from 'node:test'
import { compareStreams } from './streams.ts'

describe('the frame parser', () => {
  it('makes the same of 10,000 random streams as the receiver of ws, and refuses bad text no later', () =>
    compareStreams(1, 10_000))
})
