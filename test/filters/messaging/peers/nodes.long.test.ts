import assert from 'node:assert/strict'
import { after, before, describe, it, type TestContext } from 'node:test'
import { folder, type Launched, launch } from '../../../support/cli.ts'
import { Browser } from '../../../support/messaging-browser.ts'
import { until } from '../../../support/peer.ts'
import { type RedisServer, skipWithoutOwn, startRedis } from '../../../support/redis.ts'

/** Sends peers what its clients request; `slow` runs until this node gets the action `go`; `waiting` counts queued actions, up to 1. */
const FLEET = `export const uses = ['messaging']
export const setup = host => {
  const messaging = host.use('messaging')
  const node = process.env.NODE
  let go = () => {}
  let count = 0
  messaging.request('emit', async (_client, [peer, ...names]) => {
    for (const name of names) await messaging.peer(peer).emit(name)
  })
  messaging.request('ask', (_client, [peer, name]) => messaging.peer(peer).call(name, [], {}, { timeout: 20000 }))
  messaging.request('all', async (_client, [pattern, timeout]) => {
    const answers = await messaging.callAll(pattern, 'battery', [], {}, { timeout })
    return answers.map(({ client, id, value, error }) => [client === undefined ? 'far' : 'near', id, value ?? error.code])
  })
  messaging.request('quick', (_client, _args, _kwargs, { repeated }) => ({ node, count: ++count, repeated }))
  messaging.request('slow', (client, _args, _kwargs, { repeated }) => new Promise(resolve => {
    messaging.emit(client, 'begun', [node])
    go = () => resolve({ node, repeated })
  }))
  messaging.action('go', () => go())
  messaging.request('waiting', async (client, [peer]) => {
    const page = await client.server.read('@messaging/' + peer, { from: 'oldest', entries: 1, bytes: 1000 })
    return page.entries.length
  })
}`

describe('peers between nodes', { skip: skipWithoutOwn }, () => {
  let shared: RedisServer
  before(async () => {
    shared = await startRedis()
  })
  after(() => shared.stop())

  let group = 0
  /** Two real processes on one Redis. */
  async function nodes(t: TestContext, redis = shared, timeout = 10): Promise<readonly [Launched, Launched]> {
    const storage = ['--redis-url', redis.url, '--redis-key', `group${++group}`, '--redis-timeout', `${timeout}`]
    return Promise.all([start(t, 'a', storage), start(t, 'b', storage)])
  }
  function start(t: TestContext, node: string, storage: readonly string[]): Promise<Launched> {
    const argv = ['-p', '0', '-f', './fleet.js', '--messaging-resume', '--messaging-lease', '5', '--drain', '1']
    return launch(t, [...argv, ...storage], {
      env: { STORAGE_OBJECT_MODULE: 'redis', NODE: node },
      cwd: folder(t, { 'fleet.js': FLEET }),
    })
  }
  const open = (node: Launched) => Browser.open(node.url)
  async function come(node: Launched, id = 'copter1'): Promise<Browser> {
    const browser = await open(node)
    await browser.resume(id)
    return browser
  }
  /** The answer to a request. */
  async function answer(browser: Browser, id: string): Promise<unknown> {
    await until(() => id in browser.answers, `an answer to ${id}`)
    return browser.answers[id]
  }
  async function ask(browser: Browser, request: string, ...args: unknown[]): Promise<unknown> {
    const id = `ask${browser.heard.length}`
    browser.say({ request, id, args })
    return answer(browser, id)
  }
  /** Waits until the answers of a peer are stored. */
  const emptied = (ground: Browser) =>
    until(async () => (await ask(ground, 'waiting', 'copter1')) === 0, 'an empty queue')
  const names = (browser: Browser) => browser.tasks.map(({ action, resend = false }) => [action, resend])

  it('the actions of one reach the peer at the other, all, once and in order', async t => {
    const [a, b] = await nodes(t)
    const all = Array.from({ length: 300 }, (_, i) => `do ${i}`)
    const ground = await open(a)
    await ask(ground, 'emit', 'copter1', ...all)
    const copter = await come(b)
    for (const task of await copter.todo(300)) copter.answer(task)
    await ask(ground, 'emit', 'copter1', 'end')
    copter.answer((await copter.todo(301))[300]!)
    assert.deepEqual(
      names(copter),
      [...all, 'end'].map(name => [name, false]),
    )
    await emptied(ground)
    await copter.drop()
    const back = await come(a)
    await ask(ground, 'emit', 'copter1', 'more')
    await back.todo(1)
    assert.deepEqual(names(back), [['more', false]])
  })

  it('the actions that a killed node has sent are sent by the other, with resend', async t => {
    const [a, b] = await nodes(t)
    const ground = await open(b)
    const copter = await come(a)
    await ask(ground, 'emit', 'copter1', 'one')
    await copter.todo(1)
    await a.kill()
    await ask(ground, 'emit', 'copter1', 'two')
    const back = await come(b)
    await back.todo(2)
    assert.deepEqual(names(back), [
      ['one', true],
      ['two', false],
    ])
    assert.equal(back.tasks[0]!.id, copter.tasks[0]!.id)
  })

  it('a connection to another node becomes active, and the older one stays open', async t => {
    const [a, b] = await nodes(t)
    const ground = await open(a)
    const old = await come(a)
    const young = await come(b)
    await ask(ground, 'emit', 'copter1', 'one')
    young.answer((await young.todo(1))[0]!)
    await emptied(ground)
    await young.drop()
    await ask(ground, 'emit', 'copter1', 'two')
    await old.todo(1)
    assert.deepEqual(names(old), [['two', false]])
  })

  it('an older connection becomes active when the node of the younger one is killed', async t => {
    const [a, b] = await nodes(t)
    const ground = await open(a)
    const old = await come(a)
    const young = await come(b)
    await ask(ground, 'emit', 'copter1', 'one')
    await young.todo(1)
    await b.kill()
    const [one] = await old.todo(1)
    assert.equal(one!.action, 'one')
  })

  it('a request that one has answered is answered by the other from the record', async t => {
    const [a, b] = await nodes(t)
    const copter = await come(a)
    copter.say({ request: 'quick', id: 'e.1' })
    const first = await answer(copter, 'e.1')
    assert.deepEqual(first, { node: 'a', count: 1, repeated: false })
    await copter.drop()
    const back = await come(b)
    back.say({ request: 'quick', id: 'e.1', resend: true })
    back.say({ request: 'quick', id: 'e.2' })
    back.say({ request: 'quick', id: 'e.3', resend: true })
    assert.deepEqual(await answer(back, 'e.1'), first)
    assert.deepEqual(await answer(back, 'e.2'), { node: 'b', count: 1, repeated: false })
    assert.deepEqual(await answer(back, 'e.3'), { node: 'b', count: 2, repeated: false })
  })

  it('a resend waits for the node that runs it, and runs again only if that is dead', async t => {
    const [a, b] = await nodes(t)
    const copter = await come(a)
    for (const id of ['e.1', 'e.2']) {
      copter.say({ request: 'slow', id })
      await copter.todo(Number(id.slice(2)))
    }
    await copter.drop()
    const back = await come(b)
    for (const id of ['e.1', 'e.2']) back.say({ request: 'slow', id, resend: true })
    const ground = await open(a)
    // The second one: it is what go ends.
    ground.say({ action: 'go' })
    assert.deepEqual(await answer(back, 'e.2'), { node: 'a', repeated: false })
    assert.deepEqual(back.tasks, [])
    await a.kill()
    assert.deepEqual((await back.todo(1))[0]!.args, ['b'])
    back.say({ action: 'go' })
    assert.deepEqual(await answer(back, 'e.1'), { node: 'b', repeated: true })
  })

  it('a call is sent to the other node, and again where the peer reconnects', async t => {
    const [a, b] = await nodes(t)
    const ground = await open(a)
    const copter = await come(b)
    const called = ask(ground, 'ask', 'copter1', 'battery')
    const [asked] = await copter.todo(1)
    copter.answer(asked!, 12.5)
    assert.equal(await called, 12.5)
    const again = ask(ground, 'ask', 'copter1', 'battery')
    const [, second] = await copter.todo(2)
    await copter.drop()
    const back = await come(a)
    assert.deepEqual(await back.todo(1), [{ ...second, resend: true }])
    back.answer(second!, 12)
    assert.equal(await again, 12)
    const failing = ask(ground, 'ask', 'copter1', 'battery')
    back.answer((await back.todo(2))[1]!, null, { code: 'empty', message: 'no battery' })
    assert.deepEqual(await failing, { code: 'empty', message: 'no battery' })
  })

  it('a call to all reaches the clients of every node, and answers with errors for those that are late', async t => {
    const [a, b] = await nodes(t)
    const ground = await open(a)
    assert.deepEqual(await ask(ground, 'all', 'copter*', 20_000), [])
    const copters = [await come(a, 'copter1'), await come(b, 'copter2'), await come(b, 'copter3')]
    await come(b, 'other')
    const battery = async (which: number, count: number) => (await copters[which]!.todo(count))[count - 1]!
    const all = ask(ground, 'all', 'copter*', 20_000)
    copters[0]!.answer(await battery(0, 1), 1)
    copters[1]!.answer(await battery(1, 1), 2)
    copters[2]!.answer(await battery(2, 1), null, { code: 'empty', message: 'no battery' })
    assert.deepEqual(await all, [
      ['near', 'copter1', 1],
      ['far', 'copter2', 2],
      ['far', 'copter3', 'empty'],
    ])
    const some = ask(ground, 'all', 'copter*', 5000)
    copters[1]!.answer(await battery(1, 2), 2)
    assert.deepEqual(await some, [
      ['near', 'copter1', 'timeout'],
      ['far', 'copter2', 2],
      ['far', 'copter3', 'timeout'],
    ])
    const killed = ask(ground, 'all', 'copter*', 20_000)
    copters[0]!.answer(await battery(0, 3), 1)
    await Promise.all([battery(1, 3), battery(2, 3)])
    await b.kill()
    // Long before the timeout.
    assert.deepEqual(await killed, [
      ['near', 'copter1', 1],
      ['far', 'copter2', 'gone'],
      ['far', 'copter3', 'gone'],
    ])
    const left = ask(ground, 'all', 'copter*', 20_000)
    copters[0]!.answer(await battery(0, 4), 1)
    assert.deepEqual(await left, [['near', 'copter1', 1]])
  })

  it('without the storage no request runs, and calls reach the peers of the node', async t => {
    const redis = await startRedis()
    t.after(() => redis.stop())
    const [a] = await nodes(t, redis, 1)
    const [ground, copter] = [await open(a), await come(a)]
    copter.say({ request: 'quick', id: 'e.1' })
    await answer(copter, 'e.1')
    await redis.kill()
    copter.say({ request: 'quick', id: 'e.2' })
    assert.deepEqual(await answer(copter, 'e.2'), {
      code: 'unavailable',
      message: 'request 2 cannot be recorded in the storage, try again later',
    })
    const called = ask(ground, 'ask', 'copter1', 'battery')
    copter.answer((await copter.todo(1))[0]!, 12)
    assert.equal(await called, 12)
    const { code } = (await ask(ground, 'emit', 'copter1', 'one')) as { code: string }
    assert.equal(code, 'unavailable')
    await redis.restart()
    await until(async () => {
      copter.say({ request: 'quick', id: 'e.3', resend: true })
      await copter.read()
      return 'e.3' in copter.answers && (copter.answers['e.3'] as { count?: number }).count !== undefined
    })
    // The storage is empty now.
    assert.deepEqual(copter.answers['e.3'], { node: 'a', count: 2, repeated: true })
    await ask(ground, 'emit', 'copter1', 'two')
    assert.equal((await copter.todo(2))[1]!.action, 'two')
  })

  it('a node that was paused for longer than the lease does not send what another has', async t => {
    const [a, b] = await nodes(t)
    const ground = await open(a)
    const old = await come(a)
    const young = await come(b)
    await ask(ground, 'emit', 'copter1', 'one')
    young.answer((await young.todo(1))[0]!)
    await emptied(ground)
    b.pause()
    await ask(ground, 'emit', 'copter1', 'two')
    assert.equal((await old.todo(1))[0]!.action, 'two')
    b.resume()
    old.answer(old.tasks[0]!)
    await ask(ground, 'emit', 'copter1', 'three')
    await old.todo(2)
    await young.read()
    assert.deepEqual(
      [names(old), names(young)],
      [
        [
          ['two', false],
          ['three', false],
        ],
        [['one', false]],
      ],
    )
    await old.drop()
    await ask(ground, 'emit', 'copter1', 'four')
    await until(() => young.tasks.some(({ action }) => action === 'four'), 'the last connection to be active')
  })

  it('another server with the same Redis has other peers', async t => {
    const [a] = await nodes(t)
    const [other] = await nodes(t)
    const [ground, copter, stranger] = [await open(a), await come(a), await come(other)]
    await ask(ground, 'emit', 'copter1', 'one')
    await copter.todo(1)
    const all = ask(ground, 'all', 'copter*', 20_000)
    copter.answer((await copter.todo(2))[1]!, 12)
    assert.deepEqual(await all, [['near', 'copter1', 12]])
    await stranger.read()
    assert.deepEqual(stranger.tasks, [])
  })
})
