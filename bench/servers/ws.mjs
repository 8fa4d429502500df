// ws with the broadcast of its README: a loop over the clients. Text is decoded to a string, as in applications.
// `ws.mjs KIND [deflate]`, KIND as in contestants.ts.
import { WebSocketServer } from 'ws'

const [kind, deflate] = process.argv.slice(2)
const server = new WebSocketServer({
  port: 0,
  host: '127.0.0.1',
  backlog: 1024,
  perMessageDeflate: deflate === 'deflate',
})
/** Clients by room. */
const rooms = new Map()

server.on('connection', (socket, request) => {
  const audience =
    kind === 'rooms' ? enter(socket, new URL(request.url, 'ws://x').searchParams.get('room')) : server.clients
  const includesSender = kind === 'everyone'
  socket.on('error', console.error)
  socket.on('message', (data, isBinary) => {
    const payload = isBinary ? data : data.toString()
    if (kind === 'echo') return socket.send(payload)
    for (const client of audience)
      if ((includesSender || client !== socket) && client.readyState === 1) client.send(payload)
  })
})
server.on('listening', () => console.error(`listening on ws://127.0.0.1:${server.address().port}`))

function enter(socket, name) {
  const room = rooms.get(name) ?? new Set()
  rooms.set(name, room.add(socket))
  socket.on('close', () => room.delete(socket))
  return room
}
