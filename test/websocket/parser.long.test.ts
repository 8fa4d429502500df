import { it } from 'node:test'
import { compareStreams } from './streams.ts'

it('the frame parser makes the same of 200,000 random streams as the receiver of ws', () =>
  compareStreams(10_001, 200_000))
