// Envelopes per second of one Redis from one publisher to several nodes, and their CPU cost. Raw sockets make Redis with its one core
// the bottleneck. For docs/operations/scaling.md.
import { randomUUID } from 'node:crypto'
import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { nodeBytes, writeEnvelope } from '../dist/src/cluster/envelope.js'
import { Launched } from '../test/support/cli.ts'
import { until } from '../test/support/peer.ts'
import { startRedis } from '../test/support/redis.ts'
import { pin, processorTime } from './processes.ts'

const SECONDS = 2
/** Bytes in flight to Redis, enough to keep it busy. */
const WINDOW = 1 << 20
const CHANNEL = 'fws:all'

const bulk = (text: string) => `$${Buffer.byteLength(text)}\r\n${text}\r\n`

async function open(port: number): Promise<Socket> {
  const socket = connect(port, '127.0.0.1')
  await once(socket, 'connect')
  return socket.setNoDelay(true)
}

async function measure(nodes: number, size: number) {
  const redis = await startRedis({ config: { 'client-output-buffer-limit': 'pubsub 0 0 0' } })
  try {
    pin(redis.pid!, 0)
    pin(process.pid, 1)
    let received = 0
    const sockets: Socket[] = []
    for (let i = 0; i < nodes; i++) {
      const socket = await open(redis.port)
      sockets.push(socket)
      socket.write(`*2\r\n${bulk('SUBSCRIBE')}${bulk(CHANNEL)}`)
      await once(socket, 'data')
      socket.on('data', chunk => {
        received += chunk.length
      })
    }
    const publisher = await open(redis.port)
    sockets.push(publisher)
    const payload = 'x'.repeat(size)
    const message = Buffer.byteLength(`*3\r\n${bulk('message')}${bulk(CHANNEL)}${bulk(payload)}`)
    const command = `*3\r\n${bulk('PUBLISH')}${bulk(CHANNEL)}${bulk(payload)}`
    const batch = Math.max(1, Math.min(64, Math.floor(WINDOW / 4 / command.length)))
    const bytes = Buffer.from(command.repeat(batch))
    const answer = `:${nodes}\r\n`.length
    let sent = 0
    let answered = 0
    let isOver = false
    const most = Math.max(batch, Math.floor(WINDOW / command.length))
    const fill = () => {
      while (!isOver && sent - answered + batch <= most) {
        publisher.write(bytes)
        sent += batch
      }
    }
    publisher.on('data', chunk => {
      answered += chunk.length / answer
      fill()
    })
    fill()
    await new Promise(resolve => setTimeout(resolve, 500))
    const before = { received, answered, cpu: cpuSeconds(redis.pid!), at: performance.now() }
    await new Promise(resolve => setTimeout(resolve, SECONDS * 1000))
    const seconds = (performance.now() - before.at) / 1000
    const published = (answered - before.answered) / seconds
    const delivered = (received - before.received) / message / seconds
    const cpu = (cpuSeconds(redis.pid!) - before.cpu) / seconds
    isOver = true
    for (const socket of sockets) socket.destroy()
    return { published, delivered, cpu }
  } finally {
    await redis.stop()
  }
}

const cpuSeconds = (pid: number) => processorTime(pid) / 1e6

const round = (n: number) => Math.round(n).toLocaleString('en')
console.log(`one Redis, one publisher, medians of 3; Redis and load on a core each\n`)
console.log('| nodes | envelope | published a second | delivered a second | MB a second out | core of Redis |')
console.log('|---|---|---|---|---|---|')
for (const size of [128, 1024, 16_384]) {
  for (const nodes of [2, 10, 50]) {
    const runs = [await measure(nodes, size), await measure(nodes, size), await measure(nodes, size)]
    const { published, delivered, cpu } = runs.sort((a, b) => a.delivered - b.delivered)[1]!
    const mega = (delivered * size) / 1e6
    console.log(
      `| ${nodes} | ${size} B | ${round(published)} | ${round(delivered)} | ${round(mega)} | ${Math.round(cpu * 100)}% |`,
    )
  }
}

// The cost of an envelope for the receiving node: it parses it and delivers it to one client.
console.log('\n| envelopes of one message | CPU of the node for each | envelopes a second at one whole core |')
console.log('|---|---|---|')
for (const size of [64, 1024]) {
  const runs: number[] = []
  for (let i = 0; i < 3; i++) runs.push(await costOfEnvelope(size))
  const cost = runs.sort((a, b) => a - b)[1]!
  console.log(`| ${size} B | ${(cost * 1e6).toFixed(1)} µs | ${round(1 / cost)} |`)
}

/** CPU seconds per envelope. */
async function costOfEnvelope(size: number): Promise<number> {
  const COUNT = 100_000
  const IN_FLIGHT = 200
  const redis = await startRedis()
  const node = new Launched(['-p', '0', '-f', 'broadcast', '--storage', 'redis', '--redis-url', redis.url], {})
  try {
    await until(() => node.listening())
    pin(redis.pid!, 0)
    pin(node.pid, 0)
    const peer = await node.connect()
    let got = 0
    peer.ws.removeAllListeners('message')
    peer.ws.on('message', () => got++)
    const publisher = await open(redis.port)
    publisher.on('data', () => {})
    const id = nodeBytes(randomUUID())
    const payload = 'x'.repeat(size)
    const before = cpuSeconds(node.pid)
    for (let sent = 0; sent < COUNT; sent++) {
      const envelope = writeEnvelope(id, { first: sent, restarted: false, messages: [payload] })
      publisher.write(`*3\r\n${bulk('PUBLISH')}${bulk(CHANNEL)}$${envelope.length}\r\n`)
      publisher.write(envelope)
      publisher.write('\r\n')
      if (sent % IN_FLIGHT === 0) await until(() => got >= sent - IN_FLIGHT)
    }
    await until(() => got === COUNT)
    publisher.destroy()
    return (cpuSeconds(node.pid) - before) / COUNT
  } finally {
    await node.kill()
    await redis.stop()
  }
}
