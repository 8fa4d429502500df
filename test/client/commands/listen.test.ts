import assert from 'node:assert/strict'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { WebSocket } from 'ws'
import type { Payload, RunningServer, ServerOptions } from '../../../src/index.ts'
import { folder } from '../../support/cli.ts'
import { runCommand, startCommand } from '../../support/command.ts'
import { startFaultProxy } from '../../support/fault-proxy.ts'
import { Peer, serve, until } from '../../support/peer.ts'
import { plainServer } from '../../support/plain-server.ts'

type Test = Parameters<typeof serve>[0]

/** A listener of a server of broadcasts, and a client that sends to it. */
async function listening(t: Test, argv: readonly string[] = [], options: { isTTY?: boolean } = {}) {
  const server = await serve(t, { filters: ['broadcast'] })
  const command = startCommand(t, ['listen', server.url, ...argv], options)
  await until(() => server.clients.size === 1, 'the listener')
  const peer = await Peer.open(server.url)
  return { ...command, send: (payload: Payload) => peer.send(payload), server }
}

describe('fws-server listen', () => {
  it('writes each message as a line, and ends with 0 on SIGINT', async t => {
    const { send, stdout, stop, ended } = await listening(t)
    for (const text of ['hello', '', 'é "x"']) send(text)
    send(Buffer.from('bytes'))
    assert.deepEqual(await stdout.lines(4), ['hello', '', 'é "x"', 'bytes'])
    stop()
    assert.deepEqual(await ended(), { code: 0, stderr: [] })
  })

  for (const [framing, sent, written] of [
    ['lines', ['a\nb\r', 'c'], 'a b \nc\n'],
    ['nul', ['a\0b', 'a\nb', 'c'], 'a b\0a\nb\0c\0'],
    ['json', ['a\nb', Buffer.from([255]), 'c'], '{"data":"a\\nb"}\n{"binary":"/w=="}\n{"data":"c"}\n'],
    ['length', ['a', 'c'], '\0\0\0\u0001a\0\0\0\u0001c'],
  ] as const)
    it(`with --framing ${framing} never writes a message that looks like two`, async t => {
      const { send, stdout } = await listening(t, ['--framing', framing])
      for (const payload of sent) send(payload)
      await until(() => stdout.text.length >= written.length, 'the last message')
      assert.equal(stdout.text, written)
    })

  it('shows control characters as codes in a terminal', async t => {
    const { send, stdout } = await listening(t, [], { isTTY: true })
    send('a\x1b[2J\nb\x9b')
    assert.deepEqual(await stdout.lines(1), ['a\\x1b[2J b\\x9b'])
  })

  it('ends with 0 when its reader is gone', async t => {
    const { stdout, ended } = await listening(t)
    stdout.break()
    assert.deepEqual(await ended(), { code: 0, stderr: [] })
  })

  it('ends with 1 and one line when its output cannot be written', async t => {
    const { stdout, ended } = await listening(t)
    stdout.break('ENOSPC')
    assert.deepEqual(await ended(), { code: 1, stderr: ['the output cannot be written: write ENOSPC'] })
  })

  it('does not read from the server while its reader is slow', async t => {
    let server: WebSocket | undefined
    const { url } = await plainServer(t, socket => {
      server = socket
    })
    const { stdout } = startCommand(t, ['listen', url])
    stdout.stall()
    await until(() => server !== undefined, 'the listener')
    let count = 0
    // More than the sockets of both sides hold.
    for (; server!.bufferedAmount < 10_000_000 && count < 400; count++) {
      server!.send('x'.repeat(100_000))
      await new Promise(setImmediate)
    }
    assert.ok(server!.bufferedAmount >= 10_000_000, 'the server is read')
    assert.ok(stdout.writableLength < 1_000_000, `${stdout.writableLength} bytes`)
    stdout.accept()
    assert.equal((await stdout.lines(count)).length, count)
  })

  it('ends on SIGINT although its reader is slow', async t => {
    const { send, stdout, stop, ended } = await listening(t)
    stdout.stall()
    for (let i = 0; i < 3; i++) send('x'.repeat(100_000))
    await until(() => stdout.writableLength > 0, 'messages')
    stop()
    assert.deepEqual(await ended(), { code: 0, stderr: [] })
  })

  it('ends with 0 when the server ends normally, with 1 when it refuses the client', async t => {
    for (const [close, code] of [
      [1000, 0],
      [1008, 1],
      [4403, 1],
    ] as const) {
      const { url } = await plainServer(t, socket => socket.close(close))
      const ended = await runCommand(t, ['listen', url])
      const stderr = code === 0 ? [] : [`${url}/ has closed the connection with ${close}`]
      assert.deepEqual(ended, { code, stdout: '', stderr })
    }
  })

  it('connects again, and goes on', async t => {
    const { url } = await plainServer(t, (socket, number) => {
      socket.send(`${number}`)
      if (number < 2) socket.close(1012)
    })
    const { stdout, stderr } = startCommand(t, ['listen', url])
    assert.deepEqual(await stdout.lines(3), ['0', '1', '2'])
    assert.match(stderr.text, /closed the connection with 1012; next attempt in/)
  })

  it('ends with 1 for a message larger than --max-payload', async t => {
    const { url } = await plainServer(t, socket => socket.send('x'.repeat(11)))
    const { code, stderr } = await runCommand(t, ['listen', url, '--max-payload', '10'])
    assert.deepEqual([code, stderr], [1, [`the connection to ${url}/ is lost: a message is larger than --max-payload`]])
  })

  for (const [argv, sentence] of [
    [['--newest', '5'], '--newest needs --topic'],
    [['--position-file', 'a'], '--position-file needs --topic'],
    [['--topic', 'a', '--after', '5'], '--after takes {"epoch":"...","offset":7}, received "5"'],
  ] as const)
    it(`refuses ${argv.join(' ')}`, async t => {
      const { code, stderr } = await runCommand(t, ['listen', 'ws://127.0.0.1:1', ...argv])
      assert.deepEqual([code, stderr], [2, [sentence]])
    })
})

describe('fws-server listen --topic', () => {
  const KEPT: ServerOptions = { filters: ['streams', 'centrifuge'], streamsRules: ['chat/* size=20 ttl=5m'] }
  const append = async (server: RunningServer, ...data: unknown[]) => {
    for (const one of data) await server.append('chat/1', JSON.stringify(one))
  }
  const listen = (t: Test, url: string, ...argv: string[]) =>
    startCommand(t, ['listen', url, '--topic', 'chat/1', ...argv])
  const positionIn = (path: string) => JSON.parse(readFileSync(path, 'utf8'))

  it('writes the newest messages, then those that follow; values that are not strings as JSON', async t => {
    const server = await serve(t, KEPT)
    await append(server, 'a', 'b', { text: 'c' })
    const { stdout } = listen(t, server.url, '--newest', '2')
    await stdout.lines(2)
    await append(server, 'd')
    assert.deepEqual(await stdout.lines(3), ['b', '{"text":"c"}', 'd'])
  })

  it('writes positions as JSON, and continues behind one', async t => {
    const server = await serve(t, KEPT)
    await append(server, 'a', 'b', 'c')
    const first = listen(t, server.url, '--newest', '3', '--framing', 'json')
    const [, second] = (await first.stdout.lines(3)).map(line => JSON.parse(line))
    assert.deepEqual(second, { data: 'b', position: { epoch: second.position.epoch, offset: 2 } })
    const { stdout } = listen(t, server.url, '--after', JSON.stringify(second.position))
    assert.deepEqual(await stdout.lines(1), ['c'])
  })

  it('saves its position, from the start on, and the next listener misses nothing', async t => {
    const server = await serve(t, KEPT)
    const path = join(folder(t), 'position')
    await append(server, 'before')
    const first = listen(t, server.url, '--position-file', path)
    await until(() => existsSync(path), 'the first position')
    assert.equal(positionIn(path).offset, 1)
    await append(server, 'a')
    await until(() => positionIn(path).offset === 2, 'the second position')
    first.stop()
    assert.equal((await first.ended()).code, 0)
    await append(server, 'b', 'c')
    const { stdout } = listen(t, server.url, '--position-file', path)
    assert.deepEqual(await stdout.lines(2), ['b', 'c'])
    await until(() => positionIn(path).offset === 4, 'the last position')
  })

  it('does not save a position before its reader has accepted the message', async t => {
    const server = await serve(t, KEPT)
    const path = join(folder(t), 'position')
    const { stdout, ended } = listen(t, server.url, '--position-file', path)
    await until(() => existsSync(path), 'the first position')
    stdout.stall()
    await append(server, 'a')
    await until(() => stdout.text === 'a\n', 'a')
    assert.equal(positionIn(path).offset, 0)
    stdout.break()
    assert.equal((await ended()).code, 0)
    assert.equal(positionIn(path).offset, 0)
  })

  it('gets what was sent while the connection was broken', async t => {
    const server = await serve(t, KEPT)
    const proxy = await startFaultProxy({ host: '127.0.0.1', port: Number(new URL(server.url).port) })
    t.after(() => proxy.stop())
    const { stdout, stderr } = listen(t, `ws://127.0.0.1:${proxy.port}`, '--newest', '5')
    await append(server, 'a')
    await stdout.lines(1)
    proxy.refuse()
    await append(server, 'b', 'c')
    await until(() => stderr.text.includes('next attempt'), 'a break')
    await proxy.accept()
    assert.deepEqual(await stdout.lines(3), ['a', 'b', 'c'])
  })

  it('reports that messages are missing', async t => {
    const server = await serve(t, KEPT)
    const path = join(folder(t), 'position')
    writeFileSync(path, '{"epoch":"000000000000","offset":5}')
    await append(server, 'a')
    const { stdout, stderr } = listen(t, server.url, '--position-file', path, '--newest', '1')
    assert.deepEqual(await stdout.lines(1), ['a'])
    assert.equal(stderr.text, 'fws-server: messages of chat/1 are missing: unrecoverable position\n')
  })

  it('ends with 1 if the topic is not kept, or the subscription is refused', async t => {
    const { url } = await serve(t, KEPT)
    const path = join(folder(t), 'position')
    for (const [argv, sentence] of [
      [
        ['--topic', 'other', '--position-file', path],
        '--position-file needs a topic that is kept; filter streams keeps topics by rules',
      ],
      [['--topic', '@filter'], 'no subscription to @filter: 103 permission denied'],
      [['--topic', 'other', '--newest', '1'], 'no subscription to other: 108 not available'],
    ] as const) {
      const { code, stderr } = await runCommand(t, ['listen', url, ...argv])
      assert.deepEqual([code, stderr], [1, [sentence]])
    }
  })

  it('refuses a position file with other content, or that cannot be written', async t => {
    const { url } = await serve(t, KEPT)
    const path = folder(t, { empty: '', text: 'hello', offset: '{"epoch":"a","offset":"5"}' })
    const wanted = 'must have {"epoch":"...","offset":0}, received'
    for (const [name, expected, sentence] of [
      ['empty', 2, `--position-file ${path}/empty ${wanted} ""`],
      ['text', 2, `--position-file ${path}/text ${wanted} "hello"`],
      ['offset', 2, `--position-file ${path}/offset ${wanted} ${JSON.stringify('{"epoch":"a","offset":"5"}')}`],
      ['a/b', 1, `--position-file cannot be written: ENOENT: no such file or directory, open '${path}/a/b.new'`],
    ] as const) {
      const { code, stderr } = await runCommand(t, [
        'listen',
        url,
        '--topic',
        'chat/1',
        '--position-file',
        join(path, name),
      ])
      assert.deepEqual([code, stderr], [expected, [sentence]])
    }
  })
})
