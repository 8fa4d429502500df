import { randomBytes } from 'node:crypto'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { faults } from './kill-faults.ts'
import { KillScene } from './kill-scene.ts'
import type { Transfer } from './numbered-copter.ts'
import { until } from './peer.ts'
import { sha256 } from './sha256.ts'

/** Bytes of the file, and bytes that have arrived before the fault. */
const SIZE = 12 * 1024 * 1024
const EARLY = 3 * 1024 * 1024
/** Milliseconds of delay per chunk, so that the transfer lasts long enough. */
const DELAY = 10

/** The result of a file transfer. */
export interface FileOutcome {
  readonly bytes: number
  /** Bytes reported before the fault, and the offset at which the transfer continued. */
  readonly before: number
  readonly wentOnAt: number
  /** The file is complete and equal. */
  readonly isWhole: boolean
  /** Milliseconds from the end of the fault to the completion. */
  readonly recovered: number
}

/** Runs a fault while a client sends or gets a file. */
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
    const arrived = () => scene.reports.filter(report => typeof report === 'number')
    await until(() => (arrived().at(-1) ?? 0) >= EARLY, 'the beginning of the file')
    const before = arrived().at(-1)!
    if (scene.reports.includes('transferred')) throw new Error('the file was complete before the fault')
    await run(scene)
    const ended = Date.now()
    await until(() => scene.reports.includes('transferred'), 'the file', deadline)
    const recovered = Date.now() - ended
    const path = join(scene.folder, to)
    const isWhole = existsSync(path) && sha256(readFileSync(path)) === sha256(content)
    const wentOnAt = arrived().find((bytes, i, all) => bytes > before || (i > 0 && bytes < all[i - 1]!)) ?? 0
    return { bytes: SIZE, before, wentOnAt, isWhole, recovered }
  } finally {
    await scene.close()
  }
}
