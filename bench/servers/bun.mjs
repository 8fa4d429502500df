// Bun with its native publish (uWebSockets): `ws.publish` excludes the sender, `server.publish` does not. Text arrives
// as a string. `bun bun.mjs KIND [deflate]`, KIND as in contestants.ts.
const [kind, deflate] = process.argv.slice(2)
const compress = deflate === 'deflate'

const server = Bun.serve({
  port: 0,
  hostname: '127.0.0.1',
  fetch(request, server) {
    const room = new URL(request.url).searchParams.get('room') ?? 'all'
    return server.upgrade(request, { data: { room } }) ? undefined : new Response('WebSocket only', { status: 426 })
  },
  websocket: {
    perMessageDeflate: compress,
    open: ws => ws.subscribe(ws.data.room),
    message(ws, payload) {
      if (kind === 'echo') ws.send(payload, compress)
      else if (kind === 'everyone') server.publish(ws.data.room, payload, compress)
      else ws.publish(ws.data.room, payload, compress)
    },
  },
})
console.error(`listening on ws://127.0.0.1:${server.port}`)
