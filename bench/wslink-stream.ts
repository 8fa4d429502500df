// Images of 1 MB, 30 per second, to 10 clients of filter `wslink`: rate and intervals of their arrival. Needs a build.
import { once } from 'node:events'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { encode } from '@msgpack/msgpack'
import { WebSocket } from 'ws'
import { pin, withServer } from './processes.ts'

const CLIENTS = 10
const SECONDS = 10
/** Bytes above which a message is an image. */
const IMAGE = 1_000_000

const root = join(import.meta.dirname, '..')
const server = [process.execPath, join(root, 'dist/bin/fws-server.js'), '-p', '0', '-f']
const flags = [join(root, 'bench/filters/images.ts'), '--wslink-secret', 'bench']

/** A client, and the arrival times of its images. */
async function open(url: string): Promise<{ socket: WebSocket; at: number[] }> {
  const socket = new WebSocket(`${url}/ws`, { perMessageDeflate: false })
  await once(socket, 'open')
  const message = encode({ id: 'system:c0:0', method: 'wslink.hello', args: [{ secret: 'bench' }] })
  const head = Buffer.alloc(12)
  head.writeUInt32LE(message.length, 8)
  socket.send(Buffer.concat([head, message]))
  const at: number[] = []
  socket.on('message', data => {
    if ((data as Buffer).length > IMAGE) at.push(performance.now())
  })
  return { socket, at }
}

pin(process.pid, 1)
await withServer([...server, ...flags], async ({ url }) => {
  const clients = await Promise.all(Array.from({ length: CLIENTS }, () => open(url)))
  await sleep(1000)
  for (const { at } of clients) at.length = 0
  await sleep(SECONDS * 1000)
  const gaps = clients.flatMap(({ at }) => at.slice(1).map((time, i) => time - at[i]!)).toSorted((a, b) => a - b)
  const part = (share: number) => gaps[Math.min(gaps.length - 1, Math.floor(share * gaps.length))]!.toFixed(1)
  const rates = clients.map(({ at }) => (at.length / SECONDS).toFixed(1))
  console.log(`images per second of each client: ${rates.join(' ')}`)
  console.log(`intervals: median ${part(0.5)} ms, 99 % ${part(0.99)} ms, maximum ${part(1)} ms`)
  console.log(`closed: ${clients.filter(({ socket }) => socket.readyState !== WebSocket.OPEN).length}`)
  for (const { socket } of clients) socket.terminate()
})
