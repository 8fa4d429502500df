import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { createWriteStream, existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { PassThrough, Writable } from 'node:stream'
import { describe, it, type TestContext } from 'node:test'
import { createServer, type Server, type ServerOptions } from '../../src/index.ts'
import { FRAMINGS } from '../../src/kit/lines.ts'
import { folder, launch } from '../support/cli.ts'
import { collectedLog } from '../support/log.ts'
import { Peer, serve, until } from '../support/peer.ts'
import { smallDisk } from '../support/small-disk.ts'

const RULES = { 'streams-rules': ['news size=5 ttl=1h'] }

/** A stream as standard output, and what was written there. */
function output() {
  const stdout = new PassThrough()
  const chunks: Buffer[] = []
  stdout.on('data', chunk => chunks.push(chunk))
  return { stdout, bytes: () => Buffer.concat(chunks), text: () => String(Buffer.concat(chunks)) }
}

/** A stream that accepts nothing until `open` is called. */
function stalled() {
  const written: string[] = []
  let open = () => {}
  const opened = new Promise<void>(resolve => {
    open = resolve
  })
  const stdout = new Writable({
    write: (chunk, _encoding, done) => {
      written.push(String(chunk))
      void opened.then(() => done())
    },
  })
  return { stdout, open, text: () => written.join('') }
}

async function printing(t: TestContext, options: ServerOptions = {}) {
  const { stdout, ...rest } = output()
  const { log, logged } = collectedLog()
  const server = await serve(t, { stdout, filters: ['streams', 'stdout', 'broadcast'], ...RULES, ...options, log })
  return { server, logged, ...rest }
}

describe('filter stdout', () => {
  for (const [framing, payload, expected] of [
    ['lines', 'one', 'one\n'],
    ['lines', 'a\nb\rc\r\nd\n', 'a b c d \n'],
    ['lines', '{\n  "a": "C:\\\\new"\n}', '{   "a": "C:\\\\new" }\n'],
    ['lines', Buffer.from('grüß\n'), 'grüß \n'],
    ['nul', 'a\nb\0c', 'a\nb c\0'],
    ['json', 'a\nb', '{"client":"ID","data":"a\\nb","at":AT}\n'],
    ['json', Buffer.from([0, 255]), '{"client":"ID","binary":"AP8=","at":AT}\n'],
    ['length', 'grüß', '\0\0\0\x06grüß'],
    ['length', '', '\0\0\0\0'],
  ] as const)
    it(`with --stdout-framing ${framing} writes ${JSON.stringify(payload)} as ${JSON.stringify(expected)}`, async t => {
      const { server, text } = await printing(t, { 'stdout-framing': framing })
      const peer = await Peer.open(server.url)
      const [id] = server.clients.keys()
      peer.send(payload)
      await until(() => text() !== '', 'a message')
      assert.equal(
        text()
          .replace(id!, 'ID')
          .replace(/"at":\d{13}/, '"at":AT'),
        expected,
      )
    })

  for (const framing of FRAMINGS)
    it(`and stdin with framing ${framing} carry any messages from server to server`, async t => {
      const stdout = new PassThrough()
      const from = await serve(t, { stdout, filters: ['stdout'], 'stdout-framing': framing })
      const to = await serve(t, { stdin: stdout, filters: ['stdin', 'broadcast'], 'stdin-framing': framing })
      const [peer, reader] = [await Peer.open(from.url), await Peer.open(to.url)]
      const sent = ['', 'two\nlines\r\n', '\0'.repeat(1000), ' é€😀', Buffer.from([0, 10, 13, 255, 0]), 'last']
      for (const message of sent) peer.send(message)
      const asText = (separator: RegExp) => sent.map(message => message.toString().replace(separator, ' '))
      const expected = {
        lines: asText(/\r\n?|\n/g),
        nul: asText(/\0/g),
        json: sent,
        length: sent.map(message => Buffer.from(message as string)),
      }
      assert.deepEqual(await reader.get(sent.length), expected[framing])
    })

  it('makes clients wait for a slow reader, and loses nothing', async t => {
    const { stdout, open, text } = stalled()
    const server = await serve(t, { stdout, filters: ['stdout'], maxQueued: 10 })
    const peers = [await Peer.open(server.url), await Peer.open(server.url)]
    const lines = Array.from({ length: 500 }, (_, i) => `${i} ${'x'.repeat(1000)}`)
    for (const [i, peer] of peers.entries()) for (const line of lines) peer.send(`${i} ${line}`)
    await until(() => server.counters.paused === 2, 'both clients are paused')
    assert.ok(stdout.writableLength < 200_000, `${stdout.writableLength} bytes wait`)
    open()
    await until(() => text().split('\n').length === 1001, 'all lines')
    for (const i of peers.keys()) {
      const own = text()
        .split('\n')
        .filter(line => line.startsWith(`${i} `))
      assert.deepEqual(
        own,
        lines.map(line => `${i} ${line}`),
      )
    }
    assert.equal(server.counters.errors, 0)
  })

  it('fails messages when the reader takes nothing within --filter-timeout', async t => {
    const { stdout, open } = stalled()
    t.after(open)
    const server = await serve(t, { stdout, filters: ['stdout'], filterTimeout: 0.05 })
    const peer = await Peer.open(server.url)
    for (let i = 0; i < 5; i++) peer.send('x'.repeat(70_000))
    await until(() => server.counters.errors === 5, 'five errors')
    assert.ok(stdout.writableLength < 150_000, `${stdout.writableLength} bytes wait`)
  })

  it('stops the server when the reader is gone', async t => {
    const { stdout } = output()
    const server = await createServer({ port: 0, logLevel: 'silent', stdout, filters: ['stdout'] })
    t.after(() => server.close())
    stdout.destroy(Object.assign(new Error('write EPIPE'), { code: 'EPIPE' }))
    await server.closed
  })

  it('shows control characters as codes in a terminal', async t => {
    const { stdout, text } = output()
    const server = await serve(t, { stdout: Object.assign(stdout, { isTTY: true }), filters: ['stdout'] })
    const peer = await Peer.open(server.url)
    peer.send('a\x1b[2J\nb')
    await until(() => text() !== '', 'a message')
    assert.equal(text(), 'a\\x1b[2J b\n')
  })

  describe('with --stdout-topic', () => {
    const page = { from: 'oldest', entries: 0, bytes: 0 } as const

    it('writes the messages of the topic from now on', async t => {
      const { server, text } = await printing(t, { 'stdout-topic': 'news' })
      await server.append('news', 'one')
      const peer = await Peer.open(server.url)
      peer.send('not of the topic')
      await server.append('news', 'two\n')
      await until(() => text().endsWith('two \n'), 'two messages')
      assert.equal(text(), 'one\ntwo \n')
    })

    it('has positions as JSON', async t => {
      const { server, text } = await printing(t, { 'stdout-topic': 'news', 'stdout-framing': 'json' })
      const outcome = await server.append('news', Buffer.from('x'))
      await until(() => text().endsWith('\n'), 'a message')
      const { at, ...rest } = JSON.parse(text())
      assert.ok(Math.abs(Date.now() - at) < 60_000)
      assert.deepEqual(rest, { binary: 'eA==', position: 'position' in outcome && outcome.position })
    })

    it('stores the position of what was written', async t => {
      const path = join(folder(t), 'position.json')
      const { server, text } = await printing(t, { 'stdout-topic': 'news', 'stdout-position': path })
      for (const payload of ['one', 'two']) await server.append('news', payload)
      const { top } = await server.read('news', page)
      const stored = () => JSON.parse(readFileSync(path, 'utf8'))
      await until(() => text() === 'one\ntwo\n' && existsSync(path) && stored().offset === 2, 'a position')
      assert.deepEqual(stored(), top)
    })

    it('writes all that is stored when the server stops', async () => {
      const { stdout, text } = output()
      const stdin = new PassThrough()
      const filters = ['streams', 'stdin', 'broadcast', 'stdout']
      const options = { 'stdin-topic': 'news', 'stdin-end': 'stop', 'stdout-topic': 'news' }
      const server = await createServer({ port: 0, logLevel: 'silent', stdin, stdout, filters, ...RULES, ...options })
      stdin.end('a\nb\nc\nd\n')
      await server.closed
      assert.equal(text(), 'a\nb\nc\nd\n')
    })

    it('with --stdout-commit reader does not write the file', async t => {
      const path = join(folder(t, { 'at.json': '{"epoch":"other1","offset":7}\n' }), 'at.json')
      const options = { 'stdout-topic': 'news', 'stdout-position': path, 'stdout-commit': 'reader' }
      const { server, text } = await printing(t, options)
      await server.append('news', 'one')
      await until(() => text() === 'one\n', 'a message')
      await server.close()
      assert.equal(readFileSync(path, 'utf8'), '{"epoch":"other1","offset":7}\n')
    })

    it('says which messages are lost', async t => {
      const path = join(folder(t), 'at.json')
      const { stdout, open, text } = stalled()
      const { log, logged } = collectedLog()
      const server = await serve(t, {
        stdout,
        log,
        filters: ['streams', 'stdout'],
        'stdout-topic': 'news',
        'stdout-framing': 'json',
        'stdout-position': path,
        ...RULES,
      })
      await server.append('news', '1')
      await until(() => text() !== '', 'the first message')
      for (let i = 2; i <= 20; i++) await server.append('news', `${i}`)
      open()
      await until(() => text().split('\n').length === 8, 'the messages that are kept')
      const {
        top: { epoch },
      } = await server.read('news', page)
      const position = { epoch, offset: 15 }
      const lines = text()
        .trimEnd()
        .split('\n')
        .map(line => JSON.parse(line))
      assert.deepEqual(
        lines.map(line => line.lost ?? line.data),
        ['1', 'trimmed', '16', '17', '18', '19', '20'],
      )
      assert.deepEqual(lines[1], { lost: 'trimmed', position })
      await until(() => readFileSync(path, 'utf8') === JSON.stringify({ epoch, offset: 20 }), 'the position')
      const [loss] = logged.filter(({ msg }) => msg === 'messages for standard output are lost')
      assert.deepEqual([loss!.reason, loss!.to], ['trimmed', position])
    })

    for (const [file, reason] of [
      ['{"epoch":"other1","offset":3}', 'epoch'],
      ['{"epoch":"EPOCH","offset":30}', 'ahead'],
    ] as const)
      it(`begins with the oldest message behind a position that is lost: ${reason}`, async t => {
        const path = join(folder(t), 'at.json')
        // A filter before `stdout` knows the epoch, which storage memory makes at the start.
        const prepare = {
          start: async (given: Server) => {
            await given.append(
              'news',
              ['one', 'two'].map(payload => ({ payload })),
            )
            const { top } = await given.read('news', page)
            writeFileSync(path, file.replace('EPOCH', top.epoch))
          },
        }
        const printed = await printing(t, {
          filters: ['streams', prepare, 'stdout'] as never,
          'stdout-topic': 'news',
          'stdout-position': path,
        })
        await until(() => printed.text() === 'one\ntwo\n', 'both messages')
        const { top } = await printed.server.read('news', page)
        await until(() => readFileSync(path, 'utf8') === JSON.stringify(top), 'the position')
        assert.equal(printed.logged.find(({ msg }) => msg === 'messages for standard output are lost')!.reason, reason)
      })
  })

  for (const [options, code, message] of [
    [{ stdout: undefined }, 'ERR_FILTER', /no standard output: createServer/],
    [
      { filters: ['streams', 'stdout', 'stdout-messages'] },
      'ERR_FILTER',
      /another filter has standard output for itself$/,
    ],
    [{ filters: ['streams', 'stdout-messages', 'stdout'] }, 'ERR_FILTER', /another filter writes to standard output$/],
    [{ filters: ['streams', 'stdout', 'stdout'] }, 'ERR_FILTER', /another filter has standard output for itself$/],
    [
      { 'stdout-topic': 'other' },
      'ERR_OPTION',
      /^filter stdout: --stdout-topic takes a kept topic, received "other"; see --streams-rules$/,
    ],
    [{ 'stdout-position': '/tmp/at' }, 'ERR_OPTION', /^filter stdout: --stdout-position needs --stdout-topic$/],
    [
      { 'stdout-topic': 'news', 'stdout-position': import.meta.dirname },
      'ERR_OPTION',
      /^filter stdout: --stdout-position cannot be read: EISDIR/,
    ],
    [
      { stdout: Object.assign(new PassThrough(), { isTTY: true }), 'stdout-framing': 'length' },
      'ERR_OPTION',
      /^filter stdout: --stdout-framing length writes bytes; standard output is a terminal$/,
    ],
  ] as const)
    it(`is refused: ${message.source}`, async () => {
      const base = { port: 0, logLevel: 'silent', stdout: new PassThrough(), filters: ['streams', 'stdout'], ...RULES }
      await assert.rejects(createServer({ ...base, ...options } as never), { code, message })
    })

  for (const content of ['', '{"epoch":1,"offset":1}', '{"epoch":"abcdef","offset":-1}', '7'])
    it(`is refused with ${JSON.stringify(content)} as --stdout-position`, async t => {
      const path = join(folder(t, { 'at.json': content }), 'at.json')
      const message = `filter stdout: --stdout-position ${path} must have {"epoch":"...","offset":0}, received ${JSON.stringify(content)}`
      const starting = printing(t, { 'stdout-topic': 'news', 'stdout-position': path })
      await assert.rejects(starting, { code: 'ERR_OPTION', message })
    })

  it('ends with its reader: fws-server -f stdout | head -n 1', async t => {
    const head = spawn('head', ['-n', '1'], { stdio: ['pipe', 'pipe', 'inherit'] })
    let text = ''
    head.stdout.on('data', chunk => {
      text += chunk
    })
    const server = await launch(t, ['-p', '0', '-f', 'stdout'], { stdout: head.stdin })
    head.stdin.destroy()
    const peer = await server.connect()
    peer.send('one')
    await until(() => text === 'one\n')
    const timer = setInterval(() => peer.ws.readyState === peer.ws.OPEN && peer.send('two'), 10)
    t.after(() => clearInterval(timer))
    assert.equal((await server.ended()).code, 0)
    assert.match(server.stderr, /stopping: the reader of standard output is gone/)
  })

  it('ends with exit code 1 when the disk is full, also after a part of a message', async t => {
    const disk = smallDisk(t, 65_536)
    if (disk === undefined) return t.skip('needs the right to mount')
    const file = createWriteStream(join(disk, 'out'))
    await once(file, 'open')
    const server = await launch(t, ['-p', '0', '-f', 'stdout', 'echo'], { stdout: file })
    await once(file.destroy(), 'close')
    const peer = await server.connect()
    peer.send('x'.repeat(50_000))
    await peer.get(1)
    peer.send('y'.repeat(50_000))
    assert.equal((await server.ended()).code, 1)
    assert.match(server.stderr, /ENOSPC.*standard output has failed/)
  })

  it('ends with exit code 1 when its last messages cannot be written', async t => {
    const full = createWriteStream('/dev/full')
    await once(full, 'open')
    const server = await launch(t, ['-p', '0', '-f', 'stdout', 'echo'], { stdout: full })
    full.destroy()
    const peer = await server.connect()
    for (let i = 0; i < 100; i++) peer.send('x')
    assert.equal((await server.stop()).code, 1)
    assert.match(server.stderr, /ENOSPC.*standard output has failed/)
  })
})
