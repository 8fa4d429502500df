import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { WebSocket } from 'ws'
import { Peer, serve, until } from '../support/peer.ts'
import { skipWithoutOwn, startRedis } from '../support/redis.ts'

const CLIENTS = 5000
/** Milliseconds in which all clients return, in batches. */
const WITHIN = 2000
const BATCHES = 50
/** Publications before they return, and the most that one of them has missed. */
const PUBLISHED = 400
const MISSED = 200
/** Reads of the storage. */
const MAX_READS = 10

interface Publication {
  readonly offset: number
}

interface Reply {
  readonly subscribe?: {
    readonly epoch: string
    readonly offset: number
    readonly recovered?: boolean
    readonly publications?: readonly Publication[]
  }
  readonly push?: { readonly pub?: Publication }
}

/** Connects and subscribes in one frame, as centrifuge-js does; publications must have consecutive offsets. */
class Returning {
  offset: number
  gaps = 0
  isRecovered = false
  readonly #socket: WebSocket

  constructor(url: string, { epoch, offset }: { readonly epoch: string; readonly offset: number }) {
    this.offset = offset
    this.#socket = new WebSocket(`${url}/connection/websocket`, { perMessageDeflate: false })
    const subscribe = { channel: 'news', recover: true, epoch, offset }
    this.#socket.on('open', () => {
      this.#socket.send(`{"id":1,"connect":{}}\n${JSON.stringify({ id: 2, subscribe })}`)
    })
    // A client whose connection breaks does not get everything; at the end the server may reset those that are left.
    this.#socket.on('error', () => {})
    this.#socket.on('message', data => {
      for (const line of String(data).split('\n')) this.#receive(JSON.parse(line))
    })
  }

  close(): void {
    this.#socket.terminate()
  }

  #receive({ subscribe, push }: Reply): void {
    if (subscribe !== undefined) this.isRecovered = subscribe.recovered === true
    const pub = push?.pub
    for (const { offset } of subscribe?.publications ?? (pub === undefined ? [] : [pub])) {
      if (offset !== this.offset + 1) this.gaps++
      this.offset = offset
    }
  }
}

async function start(t: TestContext, redisPort: number) {
  return serve(t, {
    filters: ['streams', 'centrifuge'],
    storage: 'redis',
    redisPort,
    // The clients share the process of the server, and often its processor with other tests.
    handshakeTimeout: 60,
    holdTimeout: 60,
    maxClients: CLIENTS + 10,
    streamsRules: ['news size=10000 ttl=10m'],
    centrifugePublish: true,
    // They answer no pings.
    centrifugePing: 0,
  })
}

describe(`${CLIENTS} clients of the Centrifugal protocol that return within ${WITHIN / 1000} s`, {
  skip: skipWithoutOwn,
}, () => {
  it('get everything that they missed, in order, with a handful of reads', async t => {
    const redis = await startRedis()
    t.after(() => redis.stop())
    const running = await start(t, redis.port)
    const publisher = await Peer.open(`${running.url}/connection/websocket`)
    const replies = () =>
      publisher.received.flatMap(frame => String(frame).split('\n')).map(line => JSON.parse(line) as Reply)
    publisher.send('{"id":1,"connect":{}}\n{"id":2,"subscribe":{"channel":"news"}}')
    await until(() => replies().some(({ subscribe }) => subscribe !== undefined), 'a subscription')
    const { epoch } = replies().find(({ subscribe }) => subscribe !== undefined)!.subscribe!
    let published = 0
    const publish = () =>
      publisher.send(`{"id":${++published + 2},"publish":{"channel":"news","data":"${'x'.repeat(64)}"}}`)
    while (published < PUBLISHED) publish()
    await until(() => replies().some(({ push }) => push?.pub?.offset === PUBLISHED), 'all publications')

    const { streams } = running.counters
    const before = { ...streams }
    const clients: Returning[] = []
    t.after(() => {
      for (const client of clients) client.close()
    })
    const since = performance.now()
    for (let batch = 0; batch < BATCHES; batch++) {
      for (let i = 0; i < CLIENTS / BATCHES; i++)
        clients.push(new Returning(running.url, { epoch, offset: PUBLISHED - (clients.length % MISSED) }))
      // Publications go on while they return.
      publish()
      await sleep(since + ((batch + 1) * WITHIN) / BATCHES - performance.now())
    }
    const haveAll = () => clients.every(({ offset }) => offset === PUBLISHED + BATCHES)
    await until(haveAll, 'all publications at all clients', 120_000)
    const ms = performance.now() - since
    const reads = streams.reads - before.reads
    t.diagnostic(`${Math.round(ms)} ms, ${reads} reads`)
    assert.ok(clients.every(({ isRecovered, gaps }) => isRecovered && gaps === 0))
    assert.deepEqual({ ...streams.lost }, {})
    assert.ok(reads <= MAX_READS, `${reads} reads`)
  })
})
