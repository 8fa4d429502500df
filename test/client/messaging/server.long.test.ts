import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { browser, skipWithoutBrowser, watched } from '../../support/browser.ts'
import { folder, launch } from '../../support/cli.ts'
import { building, door, plainly } from '../../support/messaging.ts'
import { failing, follow } from '../../support/messaging-client.ts'
import { serve, until } from '../../support/peer.ts'
import { freePort } from '../../support/port.ts'

/** Responds to one request and not to another, and broadcasts to a topic. */
const FILTER = `
export const uses = ['messaging']
export const setup = host => {
  const messaging = host.use('messaging')
  messaging.request('echo', (_client, args) => args)
  messaging.request('never', () => new Promise(() => {}))
  messaging.action('relay', (client, args) => messaging.broadcast(client.server, 'relayed', args, {}, { topic: 'fleet' }))
}`

describe('two messaging clients of one server, over TCP and WebSocket', () => {
  it('respond to requests, and receive a topic, but not a forbidden one', async t => {
    const ids: string[] = []
    const filter = building(api => {
      api.onId((_client, id) => void ids.push(id))
      api.request('everybody', async () => (await api.callAll('*', 'name')).map(({ value }) => value))
      api.action('relay', (client, args) => api.broadcast(client.server, 'relayed', args, {}, { topic: 'fleet' }))
      return {}
    })
    const { server, port } = await door(t, [filter], { messagingAskId: true, messagingTopics: ['fleet'] })
    const received: unknown[] = []
    const clients = [`tcp://127.0.0.1:${port}`, server.url].map((url, i) => {
      const { client } = follow(t, url, { id: `copter${i + 1}` })
      client.request('name', () => `I am ${client.id}`)
      return client
    })
    for (const client of clients)
      await client.subscribe('fleet', (...parameters) => received.push(plainly([client.id, ...parameters.slice(0, 2)])))
    const [first, second] = clients
    assert.deepEqual([...((await first!.call('everybody')) as string[])].sort(), ['I am copter1', 'I am copter2'])
    await second!.call('everybody')
    second!.emit('relay', ['hello'])
    await until(() => received.length === 2)
    assert.deepEqual(received.sort(), [
      ['copter1', 'relayed', ['hello']],
      ['copter2', 'relayed', ['hello']],
    ])
    await assert.rejects(
      first!.subscribe('secret', () => {}),
      failing('forbidden', 'topic "secret" is not one of --messaging-topics'),
    )
  })
})

describe('a page with the messaging client', { skip: skipWithoutBrowser }, () => {
  it('sends and receives requests, runs a timed action, and measures the clock', async t => {
    const chromium = await browser(t)
    const pagesRoot = folder(t, { 'index.html': '<!doctype html><link rel="icon" href="data:,"><p>page</p>' })
    const filter = building(api => {
      api.request('ask', async client => api.call(client, 'sum', [1, 2]))
      api.action('begin', client => api.emit(client, 'start', [], { in: 1 }))
      return {}
    })
    const { url } = await serve(t, { filters: ['pages', 'messaging', filter], pagesRoot })
    const page = watched(t, await chromium.newPage())
    const loaded: string[] = []
    page.on('request', request => loaded.push(new URL(request.url()).pathname))
    await page.goto(url.replace('ws:', 'http:'))
    const seen = await page.evaluate<Record<string, unknown>>(`(async () => {
      const { connectMessaging, MessagingError } = await import('/fws/messaging.js')
      const ground = connectMessaging(location.href.replace('http', 'ws'), { id: 'page' })
      ground.request('sum', ([a, b]) => a + b)
      const started = new Promise(resolve => ground.action('start', (args, kwargs) => resolve(kwargs)))
      const refused = await ground.call('nothing').catch(error => [error instanceof MessagingError, error.code])
      const sum = await ground.call('ask')
      await ground.deliver('begin')
      await ground.clock.sync()
      const { error, offset } = ground.clock
      const seen = { refused, sum, started: await started, error, offset }
      ground.close()
      return seen
    })()`)
    assert.deepEqual(loaded, ['/', '/fws/messaging.js', '/fws/messaging-handlers.js'])
    const { error, offset, ...rest } = seen as { error: number; offset: number }
    assert.deepEqual(rest, { refused: [true, 'unknown'], sum: 3, started: { in: 1 } })
    assert.ok(error > 0 && error < 1, `${error}`)
    assert.ok(Math.abs(offset) < error + 0.05, `${offset} ± ${error}`)
  })
})

describe('a messaging client whose server is killed', () => {
  it('reconnects over TCP, subscribes again, and gets its responses', async t => {
    const [port, tcp] = [await freePort(), await freePort()]
    const cwd = folder(t, { 'ground.js': FILTER })
    const argv = ['-p', `${port}`, '-f', './ground.js', '--messaging-port', `${tcp}`, '--messaging-topics', 'fleet']
    const first = await launch(t, argv, { cwd })
    const { client, events, opened } = follow(t, `tcp://127.0.0.1:${tcp}`)
    const received: unknown[] = []
    const stop = await client.subscribe('fleet', (...parameters) => received.push(parameters[1]))
    const called = client.call('never', [], {}, { timeout: 60_000 }).catch(error => error.code)
    await client.call('echo')
    await first.kill()
    await until(() => events.some(([type]) => type === 'close'))
    const later = [client.call('echo', [1]), client.call('echo', [2])]
    await launch(t, argv, { cwd })
    assert.deepEqual(plainly(await Promise.all(later)), [[1], [2]])
    client.emit('relay', ['again'])
    await until(() => received.length === 1)
    assert.deepEqual(plainly(received), [['again']])
    stop()
    client.emit('relay', ['once more'])
    await client.call('echo')
    assert.equal(received.length, 1)
    await opened(2)
    client.close()
    assert.equal(await called, 'gone')
  })
})
