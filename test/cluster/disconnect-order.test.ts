import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setImmediate as turn } from 'node:timers/promises'
import type { Client } from '../../src/contract/client.ts'
import type { FilterModule } from '../../src/contract/filter.ts'
import type { Payload } from '../../src/contract/payload.ts'
import { randomFrom } from '../../src/testing/random-from.ts'
import { Peer, serve, until } from '../support/peer.ts'

declare module 'filtered-websocket' {
  interface ClientState {
    orderNumber?: number
  }
}

const CLIENTS = 8
const EACH = 1250
const TOPICS = ['even', 'odd', 'third'] as const
type TopicName = (typeof TOPICS)[number]

const isMember: Readonly<Record<TopicName, (i: number) => boolean>> = {
  even: i => i % 2 === 0,
  odd: i => i % 2 === 1,
  third: i => i % 3 === 0,
}

/** The action of the server, by the first word of a message. */
type Act =
  | { readonly to: 'all' | 'others' | 'back' | 'both' | 'dropped' }
  | { readonly to: 'one'; readonly one: number }
  | { readonly to: 'topic' | 'topic-others'; readonly topic: TopicName }
  | { readonly to: 'where'; readonly below: number }
  | { readonly to: 'join' | 'leave' | 'mine' }

function random(seed: number): (below: number) => number {
  const next = randomFrom(seed)
  return below => Math.floor(next() * below)
}

function randomAct(below: (n: number) => number): Act {
  const kinds = [
    'all',
    'others',
    'back',
    'both',
    'dropped',
    'one',
    'topic',
    'topic-others',
    'where',
    'join',
    'leave',
    'mine',
  ]
  const to = kinds[below(kinds.length)] as Act['to']
  switch (to) {
    case 'one':
      return { to, one: below(CLIENTS) }
    case 'topic':
    case 'topic-others':
      return { to, topic: TOPICS[below(TOPICS.length)]! }
    case 'where':
      return { to, below: below(CLIENTS + 1) }
    default:
      return { to }
  }
}

/** The messages that reach a client, in order; `isMine`: the sender is in its own topic. */
function deliveries(act: Act, sender: number, text: string, isMine: boolean): (readonly [number, string])[] {
  const those = (test: (i: number) => boolean) =>
    Array.from({ length: CLIENTS }, (_, i) => i).flatMap(i => (test(i) ? [[i, text] as const] : []))
  switch (act.to) {
    case 'all':
      return those(() => true)
    case 'others':
      return those(i => i !== sender)
    case 'back':
      return [[sender, text]]
    case 'both':
      return [[sender, `${text} before`], ...those(() => true), [sender, `${text} after`]]
    case 'one':
      return [[act.one, text]]
    case 'topic':
      return those(isMember[act.topic])
    case 'topic-others':
      return those(i => i !== sender && isMember[act.topic](i))
    case 'where':
      return those(i => i < act.below)
    case 'mine':
      return isMine ? [[sender, text]] : []
    default:
      return []
  }
}

/** The last filter of the chain: executes a message. */
function router(clients: (Client | undefined)[]): FilterModule {
  return {
    connect(client) {
      const i = Number(client.handshake!.url.searchParams.get('i'))
      client.state.orderNumber = i
      for (const topic of TOPICS) if (isMember[topic](i)) client.join(topic)
    },
    open(client) {
      clients[client.state.orderNumber!] = client
    },
    message(payload, client) {
      const { act, text } = JSON.parse(String(payload)) as { act: Act; text: string }
      const { server } = client
      switch (act.to) {
        case 'all':
          return server.broadcast(text)
        case 'others':
          return server.broadcast(text, { except: client })
        case 'back':
          return client.send(text)
        case 'both':
          client.send(`${text} before`)
          server.broadcast(text)
          return client.send(`${text} after`)
        case 'dropped':
          return client.drop()
        case 'one':
          return clients[act.one]!.send(text)
        case 'topic':
          return server.broadcast(text, { topic: act.topic })
        case 'topic-others':
          return server.broadcast(text, { topic: act.topic, except: client })
        case 'where':
          return server.broadcast(text, { where: ({ state }) => state.orderNumber! < act.below })
        case 'join':
          return client.join(`mine ${client.id}`)
        case 'leave':
          return client.leave(`mine ${client.id}`)
        case 'mine':
          return server.broadcast(text, { topic: `mine ${client.id}` })
      }
    },
  }
}

/** Half of the clients have another codec. */
const loud = { name: 'loud', encode: (payload: Payload) => `${payload}!` }
const isLoud = (i: number) => i >= CLIENTS / 2

describe('order', () => {
  it('10,000 messages of 8 clients through 5 filters arrive complete, each sender in its order at each receiver', async t => {
    const seed = Date.now() | 0
    const below = random(seed)
    const clients: (Client | undefined)[] = []
    const arrived: string[][] = Array.from({ length: CLIENTS }, () => [])
    const filters: FilterModule[] = [
      { message: () => {} },
      {
        // Mostly async, with varying delays.
        async message() {
          for (let n = below(4); n > 0; n--) await turn()
        },
      },
      { message: payload => `${payload}` },
      {
        // Rarely async.
        message: payload => (below(3) === 0 ? Promise.resolve(payload) : undefined),
      },
      { message: (payload, client) => void arrived[client.state.orderNumber!]!.push(JSON.parse(String(payload)).text) },
      router(clients),
    ]
    const server = await serve(t, { filters, maxQueued: 64 })
    const peers: Peer[] = []
    for (let i = 0; i < CLIENTS; i++) {
      peers.push(await Peer.open(`${server.url}/?i=${i}`))
      await until(() => clients[i] !== undefined, 'the client')
      if (isLoud(i)) clients[i]!.codec = loud
    }

    /** By receiver, then by sender. */
    const expected: string[][][] = Array.from({ length: CLIENTS }, () => Array.from({ length: CLIENTS }, () => []))
    const sent: string[][] = Array.from({ length: CLIENTS }, () => [])
    const isMine: boolean[] = []
    for (let n = 0; n < EACH; n++) {
      for (let i = 0; i < CLIENTS; i++) {
        const act = randomAct(below)
        const text = `${i}:${n}`
        sent[i]!.push(text)
        if (act.to === 'join' || act.to === 'leave') isMine[i] = act.to === 'join'
        for (const [to, what] of deliveries(act, i, text, isMine[i] ?? false))
          expected[to]![i]!.push(isLoud(to) ? `${what}!` : what)
        peers[i]!.send(JSON.stringify({ act, text }))
      }
      if (n % 100 === 0) await turn()
    }

    const totals = expected.map(bySender => bySender.reduce((sum, list) => sum + list.length, 0))
    await until(
      () => peers.every((peer, i) => peer.received.length >= totals[i]!) && arrived.every(list => list.length === EACH),
      `all messages (seed ${seed})`,
      60_000,
    )
    assert.deepEqual(arrived, sent, `the chain works on each client's messages in order (seed ${seed})`)
    for (const [to, { received }] of peers.entries()) {
      assert.equal(received.length, totals[to], `client ${to} gets nothing twice (seed ${seed})`)
      const bySender: string[][] = Array.from({ length: CLIENTS }, () => [])
      for (const text of received as string[]) bySender[Number(text.split(':')[0])]!.push(text)
      assert.deepEqual(bySender, expected[to], `what client ${to} got (seed ${seed})`)
    }
    assert.ok(server.counters.paused > 0, 'the mailboxes were full at times')
    assert.equal(server.counters.messages, CLIENTS * EACH)
    assert.equal(server.counters.errors, 0)
  })

  it('direct sends and all kinds of broadcasts from one filter arrive in the order of the calls', async t => {
    const clients: (Client | undefined)[] = []
    const server = await serve(t, { filters: [router(clients)] })
    const peers: Peer[] = []
    for (let i = 0; i < 4; i++) {
      peers.push(await Peer.open(`${server.url}/?i=${i}`))
      await until(() => clients[i] !== undefined, 'the client')
    }
    const below = random(7)
    const expected: string[][] = peers.map(() => [])
    for (let n = 0; n < 5000; n++) {
      const [one, except] = [below(4), below(4)]
      const text = `${n}`
      switch (below(6)) {
        case 0:
          clients[one]!.send(text)
          expected[one]!.push(text)
          break
        case 1:
          server.broadcast(text)
          for (const list of expected) list.push(text)
          break
        case 2:
          server.broadcast(text, { except: clients[except]! })
          for (const [i, list] of expected.entries()) if (i !== except) list.push(text)
          break
        case 3:
          server.broadcast(text, { topic: 'even' })
          for (const [i, list] of expected.entries()) if (isMember.even(i)) list.push(text)
          break
        case 4:
          server.broadcast(text, { topic: 'third', except: clients[except]! })
          for (const [i, list] of expected.entries()) if (isMember.third(i) && i !== except) list.push(text)
          break
        case 5:
          server.broadcast(text, { where: ({ state }) => state.orderNumber! <= one })
          for (const [i, list] of expected.entries()) if (i <= one) list.push(text)
          break
      }
      if (below(50) === 0) await turn()
    }
    await Promise.all(peers.map((peer, i) => peer.get(expected[i]!.length)))
    assert.deepEqual(
      peers.map(peer => peer.received),
      expected,
    )
  })
})
