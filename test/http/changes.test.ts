import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { FilterModule } from '../../src/index.ts'
import { ask } from '../support/frames.ts'
import { FOREIGN_ORIGINS, LISTED_ORIGINS, NO_ORIGINS } from '../support/hostile-headers.ts'
import { collectedLog } from '../support/log.ts'
import { serve } from '../support/peer.ts'

const FOREIGN = 'http://evil.example'

/** A filter that answers every request, and its requests. */
function answering(): { filter: FilterModule; handled: string[] } {
  const handled: string[] = []
  const request: FilterModule['request'] = ({ method, url }, res) => {
    handled.push(`${method} ${url}`)
    res.end('done')
  }
  return { filter: { request }, handled }
}

const request = (url: string, method: string, headers: Readonly<Record<string, string>> = {}, target = '/') =>
  ask(
    url,
    `${method} ${target} HTTP/1.1\r\n${Object.entries({ Host: new URL(url).host, Connection: 'close', ...headers })
      .map(([name, value]) => `${name}: ${value}\r\n`)
      .join('')}\r\n`,
  )

describe('a plain request of a foreign page', () => {
  for (const [method, isHandled] of [
    ['GET', true],
    ['HEAD', true],
    ['OPTIONS', true],
    ['POST', false],
    ['PUT', false],
    ['PATCH', false],
    ['DELETE', false],
    ['PROPFIND', false],
    ['TRACE', false],
  ] as const)
    it(`${isHandled ? 'reaches' : 'does not reach'} a filter with ${method}`, async t => {
      const { filter, handled } = answering()
      const server = await serve(t, { filters: [filter] })
      assert.equal((await request(server.url, method, { Origin: FOREIGN })).status, isHandled ? 200 : 403)
      assert.equal((await request(server.url, method)).status, 200)
      assert.equal(handled.length, isHandled ? 2 : 1)
    })

  it('gets the difference as its answer, and is counted and logged as a handshake is', async t => {
    const { log, logged } = collectedLog()
    const { filter, handled } = answering()
    const server = await serve(t, { filters: [filter], log })
    const { host } = new URL(server.url)
    for (const [origin, part] of FOREIGN_ORIGINS) {
      const { status, body } = await request(server.url, 'POST', { Origin: origin })
      const why = `its ${part} is not that of the Host header, ${host}; if a proxy replaced Host`
      assert.equal(status, 403)
      assert.ok(body.startsWith(`origin ${origin} is not allowed: ${why}`), body)
    }
    for (const origin of NO_ORIGINS)
      assert.equal((await request(server.url, 'POST', { Origin: origin })).status, 403, origin)
    assert.deepEqual(
      [{ ...server.counters.refusals }, handled],
      [{ 403: FOREIGN_ORIGINS.length + NO_ORIGINS.length }, []],
    )
    const warned = logged.filter(({ level, msg }) => level === 40 && msg === 'request refused')
    assert.deepEqual(
      warned.slice(0, 1).map(({ status, remote }) => [status, remote]),
      [[403, '127.0.0.1']],
    )
  })

  it('is handled if --origins allows it, and only then', async t => {
    const { filter } = answering()
    const server = await serve(t, { filters: [filter], origins: LISTED_ORIGINS.origins })
    for (const [origin, isAllowed] of LISTED_ORIGINS.cases)
      assert.equal((await request(server.url, 'POST', { Origin: origin })).status, isAllowed ? 200 : 403, origin)
  })

  it('is refused also where no filter answers, and never at the health path', async t => {
    const server = await serve(t, { filters: [], healthPath: '/up' })
    for (const [method, target, status] of [
      ['POST', '/', 403],
      ['GET', '/', 426],
      ['POST', '/up', 403],
      ['GET', '/up', 200],
    ] as const)
      assert.equal(
        (await request(server.url, method, { Origin: FOREIGN }, target)).status,
        status,
        `${method} ${target}`,
      )
  })

  it('with two Origin headers is refused with 400', async t => {
    const { filter } = answering()
    const server = await serve(t, { filters: [filter], origins: ['*'] })
    const { status, body } = await request(server.url, 'POST', { Origin: FOREIGN, origin: FOREIGN })
    assert.deepEqual([status, body], [400, 'more than one Origin header\n'])
  })

  it('is not read: the connection ends with the answer', async t => {
    const { filter, handled } = answering()
    const server = await serve(t, { filters: [filter] })
    const { host } = new URL(server.url)
    const head = `POST / HTTP/1.1\r\nHost: ${host}\r\nOrigin: ${FOREIGN}\r\nContent-Length: 1000000\r\n\r\n`
    const { status, headers } = await ask(server.url, head)
    assert.deepEqual([status, headers.connection, handled], [403, 'close', []])
  })
})

describe('a plain request that changes something', () => {
  for (const [site, origin, origins, status] of [
    [undefined, undefined, [], 200],
    [undefined, 'OWN', [], 200],
    ['same-origin', undefined, [], 200],
    ['same-origin', 'OWN', [], 200],
    // A form of a page with Referrer-Policy: no-referrer.
    ['same-origin', 'null', [], 200],
    [undefined, 'null', [], 403],
    ['none', undefined, [], 200],
    ['cross-site', undefined, [], 403],
    ['same-site', undefined, [], 403],
    ['cross-site', undefined, ['*'], 200],
    ['cross-site', 'null', [], 403],
    ['cross-site', 'null', ['null'], 200],
    ['cross-site', FOREIGN, [FOREIGN], 200],
    ['same-site', 'https://a.example', ['https://a.example'], 200],
    ['same-origin, cross-site', FOREIGN, [], 403],
  ] as const)
    it(`gets ${status} with the Origin ${origin}, Sec-Fetch-Site ${site} and --origins ${origins}`, async t => {
      const { filter } = answering()
      const server = await serve(t, { filters: [filter], origins })
      const own = server.url.replace('ws', 'http')
      const headers = {
        ...(site !== undefined && { 'Sec-Fetch-Site': site }),
        ...(origin !== undefined && { Origin: origin.replace('OWN', own) }),
      }
      assert.equal((await request(server.url, 'POST', headers)).status, status)
    })

  it('says what is missing if there is no Origin', async t => {
    const server = await serve(t, { filters: [answering().filter] })
    assert.equal(
      (await request(server.url, 'POST', { 'Sec-Fetch-Site': 'cross-site' })).body,
      'a request of a page of another origin (Sec-Fetch-Site: cross-site) needs an Origin header that is allowed; see --origins\n',
    )
  })
})
