import assert from 'node:assert/strict'
import { createHash } from 'node:crypto'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { Peer, serve } from '../support/peer.ts'
import { root } from '../support/root.ts'

const CHAT = join(root, 'examples/chat/chat.ts')

type Test = Parameters<typeof serve>[0]

async function room(t: Test) {
  const { url } = await serve(t, { filters: ['rate-limit', CHAT] })
  return { ws: url, http: url.replace('ws:', 'http:') }
}

/** Opens a client and removes its welcome. */
async function enter(url: string): Promise<Peer> {
  const peer = await Peer.open(url)
  await peer.get(1)
  return peer
}

/** The first `count` messages, parsed, without their times, which are checked. */
async function messagesOf(peer: Peer, count: number): Promise<Record<string, unknown>[]> {
  return (await peer.get(count)).map(text => {
    const { at, ...message } = JSON.parse(text.toString())
    assert.equal(at === undefined, 'error' in message, 'all messages but errors have a time')
    if (at !== undefined) assert.equal(new Date(at).toISOString(), at)
    return message
  })
}

describe('examples/chat: the page', () => {
  it('is served at / as HTML that cannot be framed, sniffed or cached for long', async t => {
    const { http } = await room(t)
    const answer = await fetch(`${http}/?from=elsewhere`)
    assert.equal(answer.status, 200)
    assert.equal(answer.headers.get('content-type'), 'text/html; charset=utf-8')
    assert.equal(answer.headers.get('x-content-type-options'), 'nosniff')
    assert.equal(answer.headers.get('referrer-policy'), 'no-referrer')
    assert.equal(answer.headers.get('cache-control'), 'no-cache')
    assert.match(await answer.text(), /^<!doctype html>[\s\S]*<\/html>\n$/)
  })

  it('may run only its own script and style', async t => {
    const { http } = await room(t)
    const answer = await fetch(http)
    const page = await answer.text()
    const hash = (tag: string) => {
      const found = [...page.matchAll(new RegExp(`<${tag}[^>]*>([\\s\\S]*?)</${tag}>`, 'g'))]
      assert.equal(found.length, 1, `one ${tag}`)
      return `'sha256-${createHash('sha256').update(found[0]![1]!).digest('base64')}'`
    }
    assert.equal(
      answer.headers.get('content-security-policy'),
      `default-src 'none'; script-src ${hash('script')}; style-src ${hash('style')}; connect-src 'self'; img-src data:; ` +
        "base-uri 'none'; form-action 'none'; frame-ancestors 'none'; require-trusted-types-for 'script'",
    )
    assert.doesNotMatch(page, /\son[a-z]+=|\sstyle=|innerHTML|insertAdjacentHTML|document\.write/)
  })

  it('is served at / only: other paths and methods get 426', async t => {
    const { http } = await room(t)
    for (const path of ['/page.html', '/chat.ts', '/../page.html', '//', '/index.html']) {
      assert.equal((await fetch(http + path)).status, 426, path)
    }
    assert.equal((await fetch(http, { method: 'POST' })).status, 426)
  })
})

describe('examples/chat: the room', () => {
  it('welcomes a client with its name and the number of clients, and notifies the others', async t => {
    const { ws } = await room(t)
    const ann = await enter(ws)
    const bob = await enter(ws)
    assert.deepEqual(await messagesOf(bob, 1), [
      { you: 'guest-2', here: 2, text: 'you are guest-2; /nick NAME to change that' },
    ])
    assert.deepEqual((await messagesOf(ann, 2))[1], { here: 2, text: 'guest-2 joined' })
  })

  it('sends each message to all clients, also the sender, in one order', async t => {
    const { ws } = await room(t)
    const ann = await enter(ws)
    const bob = await enter(ws)
    await ann.get(2)
    ann.send('hello')
    await bob.get(2)
    bob.send('hello yourself')
    const said = [
      { from: 'guest-1', text: 'hello' },
      { from: 'guest-2', text: 'hello yourself' },
    ]
    assert.deepEqual((await messagesOf(ann, 4)).slice(2), said)
    assert.deepEqual((await messagesOf(bob, 3)).slice(1), said)
  })

  it('passes markup on as text', async t => {
    const { ws } = await room(t)
    const ann = await enter(ws)
    const text = `<img src=x onerror="alert('1')">&amp;`
    ann.send(text)
    assert.deepEqual((await messagesOf(ann, 2))[1], { from: 'guest-1', text })
  })

  it('changes the name of a client and notifies the others', async t => {
    const { ws } = await room(t)
    const ann = await enter(ws)
    const bob = await enter(ws)
    ann.send('/nick Änn_1')
    ann.send('it is me')
    assert.deepEqual((await messagesOf(bob, 3)).slice(1), [
      { text: 'guest-1 is Änn_1 now' },
      { from: 'Änn_1', text: 'it is me' },
    ])
    assert.deepEqual((await messagesOf(ann, 3))[2], { you: 'Änn_1', text: 'you are Änn_1 now' })
  })

  it('limits names to 20 letters without spaces or markup', async t => {
    const { ws } = await room(t)
    const ann = await enter(ws)
    const invalid = ['a'.repeat(21), 'two words', '<b>', 'line\nbreak', '', '/nick', 'x'.repeat(60)]
    for (const name of invalid) ann.send(`/nick ${name}`)
    ann.send(`/nick ${'a'.repeat(20)}`)
    const answers = (await messagesOf(ann, invalid.length + 2)).slice(1)
    const refused = invalid.map(name => ({
      error: 'invalid name',
      message: `a name is 1 to 20 letters, digits, _ or -, received "${name.length > 40 ? `${name.slice(0, 40)}…` : name}"`,
    }))
    const accepted = { you: 'a'.repeat(20), text: `you are ${'a'.repeat(20)} now` }
    assert.deepEqual(answers, [...refused, accepted])
  })

  for (const [line, command] of [
    ['/help', '/help'],
    ['/me waves', '/me'],
    ['  /quit  ', '/quit'],
    ['/nickname ann', '/nickname'],
    ['/nick: ann', '/nick:'],
    ['/msg bob my\nsecret', '/msg'],
    ['/<b>', '/<b>'],
    ['/', '/'],
    ['// ann', '//'],
    ['/ nick ann', '/'],
    [`/${'x'.repeat(100)}`, `/${'x'.repeat(39)}…`],
  ] as const) {
    it(`refuses the unknown command ${JSON.stringify(line.slice(0, 20))}, and sends it to no other client`, async t => {
      const { ws } = await room(t)
      const ann = await enter(ws)
      const bob = await enter(ws)
      await ann.get(2)
      ann.send(line)
      ann.send('after it')
      const after = { from: 'guest-1', text: 'after it' }
      assert.deepEqual((await messagesOf(ann, 4)).slice(2), [
        { error: 'unknown command', message: `unknown command ${command}; /nick NAME changes your name` },
        after,
      ])
      assert.deepEqual((await messagesOf(bob, 2)).slice(1), [after])
    })
  }

  it('accepts a command in any case, after any white space', async t => {
    const { ws } = await room(t)
    const ann = await enter(ws)
    for (const line of ['/NICK ann', '/Nick\tbob', ' /nicK   eve', '/nick\njoe', '/nick zoë ']) ann.send(line)
    assert.deepEqual(
      (await messagesOf(ann, 6)).slice(1).map(({ you }) => you),
      ['ann', 'bob', 'eve', 'joe', 'zoë'],
    )
  })

  it('sends each message and notice with the time of the server', async t => {
    const { ws } = await room(t)
    const start = new Date().toISOString()
    const ann = await enter(ws)
    const bob = await enter(ws)
    ann.send('/nick ann')
    ann.send('hello')
    await bob.get(3)
    ann.ws.close()
    const times = (await bob.get(4)).map(text => JSON.parse(text.toString()).at)
    const sorted = [start, ...times, new Date().toISOString()]
    assert.equal(times.length, 4)
    assert.deepEqual(sorted.toSorted(), sorted)
  })

  it('gives a name to one client at a time, regardless of case, and again when that client has left', async t => {
    const { ws } = await room(t)
    const ann = await enter(ws)
    const bob = await enter(ws)
    ann.send('/nick ann')
    await bob.get(2)
    bob.send('/nick ANN')
    assert.deepEqual((await messagesOf(bob, 3))[2], {
      error: 'invalid name',
      message: 'ANN is taken; choose another name',
    })
    ann.ws.close()
    assert.deepEqual((await messagesOf(bob, 4))[3], { here: 1, text: 'ann left' })
    bob.send('/nick ANN')
    assert.deepEqual((await messagesOf(bob, 5))[4], { you: 'ANN', text: 'you are ANN now' })
  })

  it('does not give a new client a name that was chosen before', async t => {
    const { ws } = await room(t)
    const ann = await enter(ws)
    ann.send('/nick guest-2')
    await ann.get(2)
    const bob = await enter(ws)
    assert.equal((await messagesOf(bob, 1))[0]!.you, 'guest-3')
  })

  it('limits messages, and drops blank and binary messages', async t => {
    const { ws } = await room(t)
    const ann = await enter(ws)
    ann.send('x'.repeat(501))
    ann.send('   ')
    ann.send(Buffer.from('binary'))
    ann.send('x'.repeat(500))
    assert.deepEqual((await messagesOf(ann, 3)).slice(1), [
      { error: 'too long', message: 'at most 500 characters, received 501' },
      { from: 'guest-1', text: 'x'.repeat(500) },
    ])
  })
})
