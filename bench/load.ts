// The load: many raw WebSocket connections in one process. Received bytes are counted, not decoded, so that the load can
// take more than any server sends.
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { parseArgs } from 'node:util'

const { values } = parseArgs({
  options: {
    port: { type: 'string' },
    clients: { type: 'string', default: '1000' },
    size: { type: 'string', default: '64' },
    inflight: { type: 'string', default: '16' },
    seconds: { type: 'string', default: '3' },
    mode: { type: 'string', default: 'fanout' },
  },
})
const clients = Number(values.clients)
const size = Number(values.size)
const inflight = Number(values.inflight)
const seconds = Number(values.seconds)

const HANDSHAKE = [
  'GET / HTTP/1.1',
  'Host: 127.0.0.1',
  'Connection: Upgrade',
  'Upgrade: websocket',
  'Sec-WebSocket-Version: 13',
  'Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==',
  '\r\n',
].join('\r\n')

async function open(): Promise<Socket> {
  const socket = connect({ port: Number(values.port), host: '127.0.0.1', noDelay: true })
  socket.write(HANDSHAKE)
  let answer = ''
  while (!answer.includes('\r\n\r\n')) answer += (await once(socket, 'data'))[0].toString('latin1')
  if (!answer.startsWith('HTTP/1.1 101')) throw new Error(answer)
  return socket
}

/** A masked text frame of `length` bytes of payload; the mask is 0, so that the bytes are the text. */
function clientFrame(length: number): Buffer {
  const header =
    length < 126 ? Buffer.from([0x81, 0x80 | length]) : Buffer.from([0x81, 0x80 | 126, length >> 8, length & 255])
  return Buffer.concat([header, Buffer.alloc(4), Buffer.alloc(length, 'x')])
}

const sockets: Socket[] = []
while (sockets.length < clients) {
  const batch = Math.min(50, clients - sockets.length)
  sockets.push(...(await Promise.all(Array.from({ length: batch }, open))))
}

if (values.mode === 'idle') {
  process.send?.({ open: sockets.length })
  await once(process, 'message')
  process.exit(0)
}

const frame = clientFrame(size)
const serverFrame = frame.length - 4
const perMessage = (values.mode === 'echo' ? 1 : clients - 1) * serverFrame
let received = 0
let sent = 0
const sender = sockets[0]!

function fill(): void {
  const missing = inflight - (sent - Math.floor(received / perMessage))
  if (missing <= 0) return
  sent += missing
  sender.write(missing === 1 ? frame : Buffer.concat(Array(missing).fill(frame)))
}
for (const socket of sockets) {
  socket.on('data', (chunk: Buffer) => {
    received += chunk.length
    fill()
  })
}
fill()
await new Promise(resolve => setTimeout(resolve, 500))
const before = received
const start = performance.now()
await new Promise(resolve => setTimeout(resolve, seconds * 1000))
const took = (performance.now() - start) / 1000
process.send?.({ deliveries: (received - before) / serverFrame / took })
process.exit(0)
