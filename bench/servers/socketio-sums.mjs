// Socket.IO 4 that acknowledges sums, over WebSocket only.
import { createServer } from 'node:http'
import { Server } from 'socket.io'

const http = createServer()
const io = new Server(http, { transports: ['websocket'], perMessageDeflate: false, serveClient: false })

io.on('connection', socket => socket.on('add', (a, b, answer) => answer(a + b)))
http.listen({ port: 0, host: '127.0.0.1' }, () => console.error(`listening on ws://127.0.0.1:${http.address().port}`))
