import { createHash, randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { faults } from './kill-faults.ts'
import { KillScene } from './kill-scene.ts'
import type { Transfer } from './numbered-copter.ts'
import { until } from './peer.ts'

/** Bytes of the file, and of it that have arrived when something happens. */
const SIZE = 12 * 1024 * 1024
const EARLY = 3 * 1024 * 1024
/** Milliseconds that each chunk takes, so that it takes long enough. */
const DELAY = 10

/** What became of a file. */
export interface FileOutcome {
  readonly bytes: number
  /** Those that had arrived before, as was told, and those from which it went on. */
  readonly before: number
  readonly wentOnAt: number
  /** The same, byte for byte, where it should be. */
  readonly isWhole: boolean
  /** Milliseconds from the end of the fault until it was there. */
  readonly recovered: number
}

/** Has a client send a file, or get one, and something happen meanwhile. */
export async function endureWithFile(
  name: string,
  direction: Transfer['direction'],
  over: 'tcp' | 'ws',
  deadline: number,
): Promise<FileOutcome> {
  const { nodes, storage, run } = faults[name]!
  const [from, to] = direction === 'push' ? ['file', 'root/file'] : ['root/file', 'file']
  const transfer: Transfer = { direction, local: 'file', remote: 'file' }
  const content = randomBytes(SIZE)
  const scene = await KillScene.open({ nodes, storage, over, rate: 1, transfer }, folder =>
    writeFileSync(join(folder, from), content),
  )
  try {
    for (const { proxy } of scene.nodes) proxy.delay(DELAY)
    const arrived = () => scene.told.filter(told => typeof told === 'number')
    await until(() => (arrived().at(-1) ?? 0) >= EARLY, 'the beginning of the file')
    const before = arrived().at(-1)!
    if (scene.told.includes('transferred')) throw new Error('the file was there before anything happened')
    await run(scene)
    const ended = Date.now()
    await until(() => scene.told.includes('transferred'), 'the file', deadline)
    const recovered = Date.now() - ended
    const path = join(scene.folder, to)
    const isWhole = existsSync(path) && hashOf(readFileSync(path)) === hashOf(content)
    const wentOnAt = arrived().find((bytes, i, all) => bytes > before || (i > 0 && bytes < all[i - 1]!)) ?? 0
    return { bytes: SIZE, before, wentOnAt, isWhole, recovered }
  } finally {
    await scene.close()
  }
}

function hashOf(bytes: Buffer): string {
  return createHash('sha256').update(bytes).digest('hex')
}
