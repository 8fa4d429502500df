// Rate and memory of an upload of 100 MB to the disk with the filter `media`, compared with a ws server that only counts the bytes of
// messages. Rounds alternate; medians.
import { randomFillSync } from 'node:crypto'
import { once } from 'node:events'
import { mkdtempSync, readFileSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { WebSocket } from 'ws'
import { connectMedia } from '../client/media/node.ts'
import { pin, type Served, withServer } from './processes.ts'
import { median } from './results.ts'

const SIZE = 100_000_000
const CHUNK = 256 * 1024
const ROUNDS = 5
const MEGABYTE = 1_000_000
/** Bytes in the client's buffer: the window of an upload. */
const WINDOW = 4_194_304

interface Sample {
  /** MB per second. */
  readonly rate: number
  /** MB by which the server's memory grows. */
  readonly memory: number
}

const root = join(import.meta.dirname, '..')
const bytes = randomFillSync(Buffer.alloc(SIZE))

/** Resident bytes of a process, and their peak. */
function memoryOf(pid: number): { now: number; peak: number } {
  const status = readFileSync(`/proc/${pid}/status`, 'utf8')
  const kilobytes = (name: string) => 1024 * Number(new RegExp(`${name}:\\s+(\\d+)`).exec(status)![1])
  return { now: kilobytes('VmRSS'), peak: kilobytes('VmHWM') }
}

async function measure({ pid }: Served, run: () => Promise<unknown>): Promise<Sample> {
  const before = memoryOf(pid).now
  const start = performance.now()
  await run()
  const seconds = (performance.now() - start) / 1000
  return { rate: SIZE / seconds / MEGABYTE, memory: (memoryOf(pid).peak - before) / MEGABYTE }
}

function withWs(): Promise<Sample> {
  return withServer(['node', join(root, 'bench/servers/ws-sink.mjs'), String(SIZE)], async server => {
    const socket = new WebSocket(server.url, { perMessageDeflate: false })
    await once(socket, 'open')
    const sample = await measure(server, async () => {
      const done = once(socket, 'message')
      for (let at = 0; at < SIZE; at += CHUNK) {
        const chunk = bytes.subarray(at, at + CHUNK)
        if (socket.bufferedAmount < WINDOW) socket.send(chunk)
        else await new Promise(resolve => socket.send(chunk, resolve))
      }
      await done
    })
    socket.terminate()
    return sample
  })
}

async function withMedia(): Promise<Sample> {
  const folder = mkdtempSync(join(tmpdir(), 'fws-uploads-'))
  const flags = ['-p', '0', '-f', 'media', '--media-uploads', folder, '--media-upload-types', 'bin']
  try {
    return await withServer(['node', join(root, 'dist/bin/fws-server.js'), ...flags], async server => {
      const media = connectMedia(server.url)
      await new Promise<void>(resolve => media.on('open', () => resolve()))
      const sample = await measure(server, () => media.upload({ name: 'random.bin', data: bytes }))
      media.close()
      return sample
    })
  } finally {
    rmSync(folder, { recursive: true })
  }
}

pin(process.pid, 1)
const results = { ours: [] as Sample[], ws: [] as Sample[] }
for (let round = 0; round < ROUNDS; round++) {
  results.ours.push(await withMedia())
  results.ws.push(await withWs())
}
for (const [name, samples] of Object.entries(results)) {
  const rates = samples.map(({ rate }) => rate)
  const memory = median(samples.map(sample => sample.memory)).toFixed(0)
  const all = rates.map(rate => rate.toFixed(0)).join(' ')
  console.log(`${name}: ${median(rates).toFixed(0)} MB/s (${all}), ${memory} MB above base`)
}
const [ours, ws] = [results.ours, results.ws].map(samples => median(samples.map(({ rate }) => rate)))
console.log(`filtered-websocket : ws = ${(ours! / ws!).toFixed(2)}`)
