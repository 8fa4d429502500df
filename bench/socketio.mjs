// Socket.IO with its Redis adapter, as in its documentation: `socketio.mjs REDIS_URL`, one node per process.
import { createServer } from 'node:http'
import { createAdapter } from '@socket.io/redis-adapter'
import { createClient } from 'redis'
import { Server } from 'socket.io'

const publisher = createClient({ url: process.argv[2] })
const subscriber = publisher.duplicate()
for (const client of [publisher, subscriber]) client.on('error', console.error)
await Promise.all([publisher.connect(), subscriber.connect()])

const http = createServer()
const io = new Server(http, {
  adapter: createAdapter(publisher, subscriber),
  transports: ['websocket'],
  perMessageDeflate: false,
})
io.on('connection', socket => socket.on('m', text => socket.broadcast.emit('m', text)))
http.listen({ port: 0, host: '127.0.0.1', backlog: 1024 }, () => {
  const url = `ws://127.0.0.1:${http.address().port}`
  console.error(JSON.stringify({ msg: `listening on ${url}`, url }))
})
