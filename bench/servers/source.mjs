// A fake WebSocket server: answers every handshake with the same bytes and, after the first data, writes prepared frames to all
// connections as fast as it can. It measures the ceiling of the load generator.
// `source.mjs SIZE`: bytes of payload.
import { createServer } from 'node:net'

const size = Number(process.argv[2])
/** The message number stays 0; the load does not read it here. */
const payload = Buffer.alloc(size, '0')
const header = size < 126 ? [0x81, size] : [0x81, 126, size >> 8, size & 255]
const frame = Buffer.concat([Buffer.from(header), payload])
const block = Buffer.concat(Array(Math.ceil(65_536 / frame.length)).fill(frame))
const ANSWER = 'HTTP/1.1 101 Switching Protocols\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\r\n'

const sockets = []
const server = createServer({ noDelay: true }, socket => {
  sockets.push(socket)
  socket.on('error', () => {})
  socket.once('data', () => {
    socket.write(ANSWER)
    socket.once('data', () => sockets.forEach(flood))
  })
})
server.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () =>
  console.error(`listening on ws://127.0.0.1:${server.address().port}`),
)

function flood(socket) {
  const fill = () => {
    while (socket.write(block));
  }
  socket.on('drain', fill)
  fill()
}
