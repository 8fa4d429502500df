// ws receives a stream of binary messages, and sends `done` after BYTES bytes. `ws-sink.mjs BYTES`.
import { WebSocketServer } from 'ws'

const total = Number(process.argv[2])
const server = new WebSocketServer({ port: 0, host: '127.0.0.1', perMessageDeflate: false })

server.on('connection', socket => {
  let received = 0
  socket.on('error', console.error)
  socket.on('message', data => {
    received += data.length
    if (received === total) socket.send('done')
  })
})
server.on('listening', () => console.error(`listening on ws://127.0.0.1:${server.address().port}`))
