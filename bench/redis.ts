// What one Redis carries: envelopes a second from one publisher to several nodes, and what each costs it. Raw sockets, so that
// Redis on its one core is what is measured. For docs/scaling.md.
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { connect, type Socket } from 'node:net'
import { startRedis } from '../test/kit/redis.ts'
import { pin } from './processes.ts'

const SECONDS = 2
/** Bytes that may be under way to Redis: enough to keep it busy. */
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
    const pump = () => {
      while (!isOver && sent - answered + batch <= most) {
        publisher.write(bytes)
        sent += batch
      }
    }
    publisher.on('data', chunk => {
      answered += chunk.length / answer
      pump()
    })
    pump()
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

function cpuSeconds(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'latin1').split(') ')[1]!.split(' ')
  return (Number(fields[11]) + Number(fields[12])) / 100
}

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
