// Socket.IO 4 with its rooms, over WebSocket only. `socketio.mjs KIND [deflate]`, KIND as in contestants.ts.
import { createServer } from 'node:http'
import { Server } from 'socket.io'

const [kind, deflate] = process.argv.slice(2)
const http = createServer()
const io = new Server(http, { transports: ['websocket'], perMessageDeflate: deflate === 'deflate', serveClient: false })

io.on('connection', socket => {
  const { room } = socket.handshake.query
  if (kind === 'rooms') socket.join(room)
  socket.on('m', payload => {
    if (kind === 'echo') socket.emit('m', payload)
    else if (kind === 'everyone') io.emit('m', payload)
    else if (kind === 'rooms') socket.to(room).emit('m', payload)
    else socket.broadcast.emit('m', payload)
  })
})
http.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () =>
  console.error(`listening on ws://127.0.0.1:${http.address().port}`),
)
