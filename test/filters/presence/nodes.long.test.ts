import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import type { MemberPage } from '../../../filters/presence.ts'
import { randomFrom } from '../../../src/testing/random-from.ts'
import { folder, type Launched, launch } from '../../support/cli.ts'
import { Peer, until } from '../../support/peer.ts'
import { replay } from '../../support/presence-node.ts'
import { type RedisServer, skipWithoutOwn, startRedis } from '../../support/redis.ts'

const ROUNDS = 13
const TOPICS = 8
const SEED = 1
/** Seconds. A user whose node dies and that returns within them does not leave. */
const GRACE = 6
const LEASE = 0.6

/** Clients of `/?user=NAME&topic=TOPIC`, and answers to `list TOPIC` and `changes TOPIC`. */
const HERE = `export const uses = ['presence']
export const setup = host => {
  const presence = host.use('presence')
  return {
    open: client => {
      const { searchParams } = client.handshake.url
      client.identity = searchParams.get('user') ?? undefined
      for (const topic of searchParams.getAll('topic')) {
        if (topic.startsWith('@')) client.join(topic, { after: 'earliest' }).catch(() => {})
        else client.join(topic)
      }
    },
    message: async (payload, client) => {
      const [what, topic] = payload.split(' ')
      if (what === 'list') return client.sendJson(await presence.list(topic))
      const { entries } = await client.server.read('@presence/' + topic, { from: 'oldest', entries: 1000, bytes: 1e6 })
      client.sendJson(entries.map(({ payload }) => payload))
    },
  }
}`

interface Tab {
  readonly user: string
  readonly peer: Peer
  readonly node: number
}

/** One topic in one round. */
interface Run {
  readonly topic: string
  tabs: Tab[]
  /** All users so far. */
  readonly users: Set<string>
  readonly watcher: Peer
}

describe('presence on three processes', { skip: skipWithoutOwn }, () => {
  let redis: RedisServer
  before(async () => {
    redis = await startRedis()
  })
  after(() => redis.stop())

  it(`one of them is killed: right counts, one join, one leave, ${ROUNDS * TOPICS} random runs`, async t => {
    const random = randomFrom(SEED)
    const below = (count: number) => Math.floor(random() * count)
    const cwd = folder(t, { 'here.js': HERE })
    const start = () => startNode(t, redis, cwd)
    const nodes = await Promise.all([start(), start(), start()])
    const enter = async (node: number, user: string, topic: string): Promise<Tab> => {
      const peer = await Peer.open(`${nodes[node]!.url}?user=${user}&topic=${topic}`)
      return { user, peer, node }
    }

    const runRound = async (round: number) => {
      const victim = below(3)
      const living = [0, 1, 2].filter(node => node !== victim)
      const runs: Run[] = []
      for (let i = 0; i < TOPICS; i++) {
        const topic = `room-${round}-${i}`
        const watcher = await Peer.open(`${nodes[living[below(2)]!]!.url}?user=w&topic=@presence/${topic}`)
        const tabs: Tab[] = []
        for (const user of ['ann', 'bob', 'cyd'])
          for (let n = 0; n <= below(3); n++) tabs.push(await enter(below(3), user, topic))
        runs.push({ topic, tabs, users: new Set(tabs.map(({ user }) => user)), watcher })
      }
      const ask = await Promise.all(living.map(node => Peer.open(nodes[node]!.url)))
      const check = async () => {
        for (const run of runs) for (const peer of ask) await shows(peer, run)
      }
      await check()

      await nodes[victim]!.kill()
      const restarted = start()
      for (const run of runs) {
        const lost = run.tabs.filter(({ node }) => node === victim)
        run.tabs = run.tabs.filter(({ node }) => node !== victim)
        // Some return to another node at once, some not at all; others leave meanwhile.
        for (const { user } of lost) if (random() < 0.6) run.tabs.push(await enter(living[below(2)]!, user, run.topic))
        const [first] = run.tabs
        if (first !== undefined && random() < 0.3) {
          first.peer.ws.terminate()
          run.tabs = run.tabs.slice(1)
        }
      }
      nodes[victim] = await restarted
      await check()
      for (const run of runs) await announced(ask[0]!, run)
      for (const { tabs, watcher } of runs) for (const { peer } of [...tabs, { peer: watcher }]) peer.ws.terminate()
      for (const peer of ask) peer.ws.terminate()
    }
    for (let round = 0; round < ROUNDS; round++) await runRound(round)
  })
})

function startNode(t: TestContext, redis: RedisServer, cwd: string): Promise<Launched> {
  const presence = ['--presence-topics', 'room-*', '--presence-grace', String(GRACE), '--presence-lease', String(LEASE)]
  const argv = ['-p', '0', '-f', './here.js', ...presence, '--redis-url', redis.url]
  return launch(t, argv, { cwd, env: { STORAGE_OBJECT_MODULE: 'redis' } })
}

async function ask(peer: Peer, question: string): Promise<unknown> {
  const count = peer.received.length
  peer.send(question)
  return JSON.parse(String((await peer.get(count + 1))[count]))
}

/** Waits until a list has the tabs of a run, and no others. */
async function shows(peer: Peer, { topic, tabs }: Run): Promise<void> {
  const users = tabs.map(({ user }) => user).toSorted()
  let page: MemberPage | undefined
  await until(async () => {
    page = (await ask(peer, `list ${topic}`)) as MemberPage
    return page.clients === tabs.length && page.users === new Set(users).size
  }, `${users} in ${topic}`).catch(error => assert.fail(`${error}, got ${JSON.stringify(page)}`))
  assert.deepEqual(
    page!.members.map(({ user }) => user),
    users,
  )
}

/** Each user has joined once, and left once if it has no tab. */
async function announced(peer: Peer, { topic, tabs, users, watcher }: Run): Promise<void> {
  const changes = (await ask(peer, `changes ${topic}`)) as string[]
  const here = [...new Set(tabs.map(({ user }) => user))].toSorted()
  assert.deepEqual(replay(changes), here)
  assert.equal(changes.length, 2 * users.size - here.length, changes.join(' '))
  await until(() => watcher.received.length === changes.length, `the changes ${changes}`)
  assert.deepEqual(watcher.received, changes)
}
