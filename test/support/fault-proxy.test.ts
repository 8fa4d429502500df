import assert from 'node:assert/strict'
import { once } from 'node:events'
import { connect, createServer, type Server, type Socket } from 'node:net'
import { describe, it } from 'node:test'
import { type FaultProxy, startFaultProxy } from './fault-proxy.ts'
import { until } from './peer.ts'

interface Test {
  after(fn: () => void | Promise<void>): void
}

/** One end of a connection, and its state. */
class End {
  readonly socket: Socket
  text = ''
  length = 0
  ended = false
  closed = false
  error: string | undefined

  constructor(socket: Socket) {
    this.socket = socket
    socket.on('data', bytes => {
      this.length += bytes.length
      if (this.length < 1000) this.text += bytes
    })
    socket.on('end', () => {
      this.ended = true
    })
    socket.on('close', () => {
      this.closed = true
    })
    socket.on('error', (error: NodeJS.ErrnoException) => {
      this.error = error.code
    })
  }

  async got(text: string): Promise<void> {
    await until(() => this.text.length >= text.length, JSON.stringify(text))
    assert.equal(this.text, text)
  }

  async isReset(): Promise<void> {
    await until(() => this.closed, 'a reset')
    assert.equal(this.error, 'ECONNRESET')
  }
}

interface Setup {
  readonly proxy: FaultProxy
  /** The ends of the upstream, in order. */
  readonly served: readonly End[]
  /** A client, and the upstream end of its connection. */
  open(): Promise<readonly [client: End, served: End]>
  /** A client only. */
  dial(): Promise<End>
}

async function setup(t: Test): Promise<Setup> {
  const served: End[] = []
  const upstream: Server = createServer({ allowHalfOpen: true }, socket => served.push(new End(socket)))
  await once(upstream.listen(0, '127.0.0.1'), 'listening')
  const { port } = upstream.address() as { port: number }
  const proxy = await startFaultProxy({ host: '127.0.0.1', port })
  const dialled: End[] = []
  t.after(async () => {
    for (const { socket } of [...dialled, ...served]) socket.destroy()
    await proxy.stop()
    upstream.close()
  })
  const dial = async () => {
    const end = new End(connect({ port: proxy.port, host: '127.0.0.1', allowHalfOpen: true }))
    dialled.push(end)
    await once(end.socket, 'connect')
    return end
  }
  const open = async () => {
    const count = served.length
    const client = await dial()
    await until(() => served.length > count, 'a connection upstream')
    return [client, served[count]!] as const
  }
  return { proxy, served, open, dial }
}

/** Asserts that both ends receive each other's data. */
async function talk(client: End, served: End): Promise<void> {
  const [before, after] = [served.text, client.text]
  client.socket.write('ping')
  await served.got(`${before}ping`)
  served.socket.write('pong')
  await client.got(`${after}pong`)
}

/** Time to read `SIZE` without a pause. */
async function turns(): Promise<void> {
  for (let i = 0; i < 3000; i++) await new Promise(setImmediate)
}

/** Far more than the socket buffers. */
const SIZE = 64 << 20

/** Waits until earlier writes have passed the proxy, or were dropped. */
async function settle({ open }: Pick<Setup, 'open'>): Promise<void> {
  const [client, served] = await open()
  await talk(client, served)
  client.socket.destroy()
}

describe('a fault proxy', () => {
  it('forwards bytes and ends, each direction separately, and counts', async t => {
    const { proxy, open } = await setup(t)
    const [client, served] = await open()
    await open()
    assert.deepEqual([proxy.connections, proxy.accepted], [2, 2])
    await talk(client, served)
    client.socket.end('bye')
    await until(() => served.ended, 'an end')
    await served.got('pingbye')
    served.socket.end('late')
    await client.got('ponglate')
    await until(() => client.closed && served.closed, 'a close')
    assert.deepEqual([client.error, served.error], [undefined, undefined])
    assert.deepEqual([proxy.connections, proxy.accepted], [1, 2])
  })

  it('forwards resets, and resets clients that it cannot connect', async t => {
    const { open } = await setup(t)
    const [client, served] = await open()
    client.socket.resetAndDestroy()
    await served.isReset()
    const [other, answering] = await open()
    answering.socket.resetAndDestroy()
    await other.isReset()

    const nowhere = await startFaultProxy({ host: '127.0.0.1', port: 1 })
    t.after(() => nowhere.stop())
    const refused = new End(connect(nowhere.port, '127.0.0.1'))
    await refused.isReset()
  })

  it('paused, delays writers, and loses nothing', async t => {
    const { proxy, open } = await setup(t)
    const [client, served] = await open()
    proxy.pause()
    for (const { socket } of [client, served]) {
      socket.write(Buffer.alloc(SIZE))
      socket.end('.')
    }
    await turns()
    for (const { socket, length } of [client, served]) {
      assert.ok(socket.writableLength > SIZE / 2, `${socket.writableLength} bytes not taken`)
      assert.equal(length, 0)
    }
    proxy.resume()
    await until(() => client.closed && served.closed, 'all bytes')
    assert.deepEqual([client.length, served.length], [SIZE + 1, SIZE + 1])
  })

  it('delays the writer of a peer that does not read', async t => {
    const { proxy, open } = await setup(t)
    const [client, served] = await open()
    for (const ms of [0, 1]) {
      proxy.delay(ms)
      client.socket.pause()
      served.socket.write(Buffer.alloc(SIZE))
      await turns()
      assert.ok(served.socket.writableLength > SIZE / 2, `${served.socket.writableLength} bytes not taken`)
      client.socket.resume()
      await until(() => served.socket.writableLength === 0, 'all bytes')
    }
  })

  it('paused, delays resets', async t => {
    const { proxy, open } = await setup(t)
    const [client, served] = await open()
    proxy.pause()
    client.socket.resetAndDestroy()
    await settle(await setup(t))
    assert.equal(served.closed, false)
    proxy.resume()
    await served.isReset()
  })

  it('paused, accepts connections that work when it is resumed', async t => {
    const { proxy, dial, served } = await setup(t)
    proxy.pause()
    const client = await dial()
    client.socket.write('hello')
    await until(() => served.length > 0, 'a connection upstream')
    await settle(await setup(t))
    assert.equal(served[0]!.text, '')
    proxy.resume()
    await served[0]!.got('hello')
  })

  it('cut, resets both sides and accepts new connections', async t => {
    const { proxy, open } = await setup(t)
    const [client, served] = await open()
    proxy.cut()
    await Promise.all([client.isReset(), served.isReset()])
    assert.equal(proxy.connections, 0)
    await talk(...(await open()))
  })

  it('refusing, resets connections until it accepts again on the same port', async t => {
    const { proxy, open } = await setup(t)
    const [client, served] = await open()
    const { port } = proxy
    proxy.refuse()
    await assert.rejects(once(connect(port, '127.0.0.1'), 'connect'), { code: 'ECONNREFUSED' })
    await Promise.all([client.isReset(), served.isReset()])
    proxy.refuse()
    await proxy.accept()
    await proxy.accept()
    assert.equal(proxy.port, port)
    await talk(...(await open()))
  })

  it('delays chunks concurrently, in order', async t => {
    const { proxy, open } = await setup(t)
    const [client, served] = await open()
    proxy.delay(500)
    const start = performance.now()
    for (let i = 0; i < 20; i++) {
      client.socket.write(String(i))
      await new Promise(setImmediate)
    }
    proxy.delay(0)
    client.socket.end('end')
    await until(() => served.ended, 'an end')
    const took = performance.now() - start
    assert.equal(served.text, '012345678910111213141516171819end')
    // Consecutive delays would take 10 s.
    assert.ok(took >= 499 && took < 9000, `${took} ms`)
  })

  it('delays much data without loss', async t => {
    const { proxy, open } = await setup(t)
    const [client, served] = await open()
    proxy.delay(5)
    const size = 8 << 20
    served.socket.end(Buffer.alloc(size))
    await until(() => client.ended, 'an end')
    assert.equal(client.length, size)
  })

  it('half open, drops all bytes and closes nothing; only new connections recover', async t => {
    const { proxy, open, dial, served: all } = await setup(t)
    const [client, served] = await open()
    await talk(client, served)
    proxy.halfOpen()
    const during = await dial()
    for (const { socket } of [client, served, during]) socket.end('lost')
    await until(() => proxy.connections === 0, 'their ends, which the proxy sees')
    proxy.resume()
    assert.equal(all.length, 1)
    await settle({ open })
    const after = [client, served, during].map(({ text, ended, closed }) => ({ text, ended, closed }))
    assert.deepEqual(after, [
      { text: 'pong', ended: false, closed: false },
      { text: 'ping', ended: false, closed: false },
      { text: '', ended: false, closed: false },
    ])
  })

  it('half open, hides the end of one side from the other', async t => {
    const { proxy, open } = await setup(t)
    const [client, served] = await open()
    const [other, answering] = await open()
    proxy.halfOpen()
    client.socket.resetAndDestroy()
    answering.socket.resetAndDestroy()
    await until(() => proxy.connections === 1, 'the reset, which the proxy sees')
    proxy.resume()
    await settle({ open })
    assert.deepEqual([served.closed, other.closed], [false, false])
  })

  it('drops replies, and finally resets clients that missed one', async t => {
    const { proxy, open } = await setup(t)
    const [client, served] = await open()
    const [other, idle] = await open()
    proxy.dropReplies()
    client.socket.write('SET')
    await served.got('SET')
    served.socket.write('OK')
    client.socket.write('.')
    await served.got('SET.')
    assert.equal(client.closed, false)
    proxy.resume()
    await Promise.all([client.isReset(), served.isReset()])
    assert.equal(client.text, '')
    await talk(other, idle)
  })

  it('drops unsolicited messages too', async t => {
    const { proxy, open } = await setup(t)
    const [client, served] = await open()
    const [other, asking] = await open()
    proxy.dropReplies()
    served.socket.end('event')
    other.socket.write('.')
    await asking.got('.')
    await new Promise(setImmediate)
    proxy.resume()
    await Promise.all([client.isReset(), other.isReset()])
    assert.deepEqual([client.text, client.ended], ['', false])
  })

  it('resumed, forgets a client that left before its replies arrived', async t => {
    const { proxy, open } = await setup(t)
    const [client, served] = await open()
    proxy.pause()
    served.socket.write('one')
    await turns()
    served.socket.write('two')
    await turns()
    client.socket.destroy()
    await until(() => proxy.connections === 0, 'the end')
    proxy.resume()
    await until(() => served.ended, 'an end')
    let isStopped = false
    proxy.stop().then(() => {
      isStopped = true
    })
    await until(() => isStopped, 'a stop')
  })

  it('stops twice, also while it refuses or has dead connections', async t => {
    const { proxy, open, dial } = await setup(t)
    const [client, served] = await open()
    proxy.halfOpen()
    await dial()
    await proxy.stop()
    await proxy.stop()
    await Promise.all([client.isReset(), served.isReset()])
    await assert.rejects(once(connect(proxy.port, '127.0.0.1'), 'connect'), { code: 'ECONNREFUSED' })
  })
})
