import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import type { FilterModule, Payload, RunningServer, ServerOptions } from '../../../src/index.ts'
import { authority, selfSignedFiles, signed } from '../../support/certificates.ts'
import { folder } from '../../support/cli.ts'
import { runCommand, startCommand } from '../../support/command.ts'
import { serve, until } from '../../support/peer.ts'
import { plainServer } from '../../support/plain-server.ts'
import { freePort } from '../../support/port.ts'
import { accept, scripted } from '../../support/topics.ts'

type Test = Parameters<typeof serve>[0]

/** A server that collects messages, headers and close codes of its clients. */
async function collecting(t: Test, filters: ServerOptions['filters'] = []) {
  const messages: Payload[] = []
  const headers: Record<string, unknown>[] = []
  const closes: number[] = []
  const collect = {
    open: client => {
      headers.push({ ...client.handshake?.headers })
    },
    message: payload => {
      messages.push(payload)
    },
    disconnect: (_, { code }) => {
      closes.push(code)
    },
  } satisfies FilterModule
  const server = await serve(t, { filters: [collect, ...filters] })
  return { url: server.url, messages, headers, closes }
}

/** A URL at which no server listens. */
const nowhere = async () => `ws://127.0.0.1:${await freePort()}`

describe('fws-server send', () => {
  it('sends each line as a message, in order, and closes with 1000', async t => {
    const { url, messages, closes } = await collecting(t)
    const lines = Array.from({ length: 5000 }, (_, i) => `line ${i} é`)
    const ended = await runCommand(t, ['send', url], lines.join('\n'))
    assert.deepEqual(ended, { code: 0, stdout: '', stderr: [] })
    assert.deepEqual(messages, lines)
    await until(() => closes.length === 1)
    assert.deepEqual(closes, [1000])
  })

  it('sends a line as soon as it is complete', async t => {
    const { url, messages } = await collecting(t)
    const { stdin } = startCommand(t, ['send', url])
    stdin.write('a\nb')
    await until(() => messages.length === 1, 'a message')
    assert.deepEqual(messages, ['a'])
  })

  for (const [framing, input, expected] of [
    ['lines', 'a\r\n\nb', ['a', '', 'b']],
    ['nul', 'a\nb\0c', ['a\nb', 'c']],
    ['json', '{"data":"a\\nb"}\n{"binary":"AP8="}\n', ['a\nb', Buffer.from([0, 255])]],
    ['length', Buffer.from([0, 0, 0, 2, 0, 255]), [Buffer.from([0, 255])]],
  ] as const)
    it(`reads --framing ${framing}`, async t => {
      const { url, messages } = await collecting(t)
      const { code, stderr } = await runCommand(t, ['send', url, '--framing', framing], input)
      assert.deepEqual({ code, stderr, messages }, { code: 0, stderr: [], messages: expected })
    })

  for (const [framing, input, why] of [
    ['lines', `${'x'.repeat(11)}\na\n`, 'longer than --max-payload'],
    ['json', 'hello\n{"data":"a"}\n', 'not JSON'],
    ['json', '{"data":"a"}\n{"text":"b"}\n', 'a JSON object without "data" and "binary"'],
  ] as const)
    it(`skips a message that is ${why}, sends the others, and exits with 1`, async t => {
      const { url, messages } = await collecting(t)
      const argv = ['send', url, '--framing', framing, '--max-payload', '10']
      const { code, stderr } = await runCommand(t, argv, input)
      assert.deepEqual(
        { code, stderr },
        { code: 1, stderr: [`skipped a message: ${why}`, 'messages that were skipped: 1'] },
      )
      assert.deepEqual(messages, ['a'])
    })

  it('sends a token, headers and subprotocols with the handshake', async t => {
    const { url, headers } = await collecting(t)
    const argv = ['send', url, '--token', 'abc', '--header', 'X-A=b=c', 'Cookie=d', '--protocol', 'chat', 'other']
    assert.equal((await runCommand(t, argv)).code, 0)
    const { authorization, 'x-a': own, cookie, 'sec-websocket-protocol': protocols } = headers[0]!
    assert.deepEqual([authorization, own, cookie, protocols], ['Bearer abc', 'b=c', 'd', 'chat,other'])
  })

  it('reads the token from the environment or from a file', async t => {
    const { url, headers } = await collecting(t)
    const path = folder(t, { token: 'from-file\n' })
    await runCommand(t, ['send', url], '', { env: { FWS_TOKEN: 'from-env' } })
    await runCommand(t, ['send', url], '', { env: { FWS_TOKEN_FILE: `${path}/token` } })
    await runCommand(t, ['send', url, '--token', 'flag'], '', { env: { FWS_TOKEN: 'from-env' } })
    assert.deepEqual(
      headers.map(({ authorization }) => authorization),
      ['Bearer from-env', 'Bearer from-file', 'Bearer flag'],
    )
  })

  it('warns of a token that is not encrypted on its way to another machine', async t => {
    // An address that is not loopback, but leads to this machine.
    const url = `ws://0.0.0.0:${await freePort()}`
    const { stderr } = await runCommand(t, ['send', url, '--token', 'secret', '--no-reconnect'])
    assert.equal(stderr[0], `the token is not encrypted on its way to ${new URL(url).host}; use wss:`)
    assert.doesNotMatch(stderr.join(), /secret/)
  })

  for (const [status, reason] of [
    [401, 'token refused: expired'],
    [403, 'not here'],
    [404, 'no such path'],
  ] as const)
    it(`is refused with ${status}: exits with 1 and does not try again`, async t => {
      let attempts = 0
      const refusing: FilterModule = {
        connect: client => {
          attempts++
          return client.refuse(status, reason)
        },
      }
      const { url } = await serve(t, { filters: [refusing] })
      const { code, stderr } = await runCommand(t, ['send', `${url}/?secret=x`], 'a\n')
      assert.deepEqual([code, stderr], [1, [`cannot connect to ${url}/: HTTP status ${status}: ${reason}`]])
      assert.equal(attempts, 1)
    })

  for (const code of [1000, 1002, 1003, 1007, 1008, 1009, 1010, 4401, 4403])
    it(`does not come back after a close with ${code}, and exits with 1`, async t => {
      const { url, received } = await plainServer(t, socket =>
        socket.once('message', () => socket.close(code, 'why\n')),
      )
      const ended = await runCommand(t, ['send', url], 'a\n')
      assert.deepEqual([ended.code, ended.stderr], [1, [`${url}/ has closed the connection with ${code}: why `]])
      assert.equal(received.length, 1)
    })

  for (const code of [1001, 1011, 1012, 1013, 4429])
    it(`sends again after a close with ${code}`, async t => {
      const { url, received } = await plainServer(t, (socket, number) => {
        if (number === 0) socket.close(code, 'later')
      })
      const ended = await runCommand(t, ['send', url], 'a\nb\n')
      assert.equal(ended.code, 0)
      assert.equal(ended.stderr[0], `${url}/ has closed the connection with ${code}: later; next attempt in N s`)
      assert.deepEqual(received.at(-1), ['a', 'b'])
    })

  it('sends again what was not acknowledged when the connection broke', async t => {
    const { url, received } = await plainServer(
      t,
      (socket, number) => {
        // Pongs come after the messages before them.
        socket.on('ping', data => {
          if (number === 0 && received[0]!.length > 1) socket.terminate()
          else socket.pong(data)
        })
      },
      { autoPong: false },
    )
    const { stdin, ended } = startCommand(t, ['send', url])
    stdin.write('a\n')
    await until(() => received[0]?.length === 1, 'a')
    stdin.end('b\nc\n')
    const { code, stderr } = await ended()
    assert.deepEqual(stderr, [
      `the connection to ${url}/ is lost; next attempt in N s`,
      'messages that were not acknowledged are sent again: 2',
    ])
    assert.deepEqual(
      [code, received],
      [
        0,
        [
          ['a', 'b', 'c'],
          ['b', 'c'],
        ],
      ],
    )
  })

  for (const pong of ['heartbeat', '', '9', '-1', '1795234377478'])
    it(`does not take a pong of the server for an acknowledgement: ${JSON.stringify(pong)}`, async t => {
      const { url, received } = await plainServer(
        t,
        (socket, number) => {
          if (number > 0) return void socket.on('ping', data => socket.pong(data))
          socket.pong(pong)
          socket.once('ping', () => {
            socket.pong(pong)
            setImmediate(() => socket.terminate())
          })
        },
        { autoPong: false },
      )
      const { code, stderr } = await runCommand(t, ['send', url], 'a\nb\n')
      assert.equal(code, 0)
      assert.deepEqual(received, [
        ['a', 'b'],
        ['a', 'b'],
      ])
      assert.match(stderr.join('\n'), /messages that were not acknowledged are sent again: 2/)
    })

  it('reports that the last messages may be lost if the connection breaks at its end', async t => {
    const { url } = await plainServer(t, socket => {
      // Called by ws to answer the Close frame.
      Object.assign(socket, { close: () => socket.terminate() })
    })
    const { code, stderr } = await runCommand(t, ['send', url], 'a\n')
    assert.deepEqual(
      [code, stderr],
      [1, [`the connection to ${url}/ is lost at its end; the last messages may be lost`]],
    )
  })

  it('waits for a server that is not there yet', async t => {
    const port = await freePort()
    const { stdin, stderr, ended } = startCommand(t, ['send', `ws://127.0.0.1:${port}`])
    stdin.end('a\n')
    await until(() => stderr.text.includes('next attempt'), 'an attempt')
    const { received } = await plainServer(t, () => {}, { port })
    const result = await ended()
    assert.equal(result.code, 0)
    assert.equal(
      result.stderr[0],
      `cannot connect to ws://127.0.0.1:${port}/: connect ECONNREFUSED 127.0.0.1:${port}; next attempt in N s`,
    )
    assert.deepEqual(received, [['a']])
  })

  it('with --no-reconnect exits with 1 if the server is not there', async t => {
    const url = await nowhere()
    const { code, stderr } = await runCommand(t, ['send', url, '--no-reconnect'], 'a\n')
    const { host, port } = new URL(url)
    assert.deepEqual([code, stderr], [1, [`cannot connect to ws://${host}/: connect ECONNREFUSED 127.0.0.1:${port}`]])
  })

  it('checks the certificate of the server, by --ca if it is given', async t => {
    const { files } = await selfSignedFiles(t)
    const server = await serve(t, { filters: [], ...files })
    const url = `wss://localhost:${new URL(server.url).port}`
    const { code, stderr } = await runCommand(t, ['send', url], 'a\n')
    assert.deepEqual([code, stderr], [1, [`cannot connect to ${url}/: self-signed certificate`]])
    assert.deepEqual(await runCommand(t, ['send', url, '--ca', files.cert], 'a\n'), { code: 0, stdout: '', stderr: [] })
  })

  it('exits with 1 if the server does not speak TLS, or not the subprotocol', async t => {
    const { url } = await plainServer(t, () => {}, { handleProtocols: () => false })
    const { code, stderr } = await runCommand(t, ['send', url.replace('ws:', 'wss:')], 'a\n')
    assert.equal(code, 1)
    assert.match(stderr.join(), /^cannot connect to wss:.*SSL/)
    const chosen = await runCommand(t, ['send', url, '--protocol', 'chat'], 'a\n')
    assert.deepEqual([chosen.code, chosen.stderr], [1, [`cannot connect to ${url}/: Server sent no subprotocol`]])
  })

  it('sends a client certificate', async t => {
    const [ca, { files }] = [await authority('test'), await selfSignedFiles(t)]
    const client = await signed(ca, { commonName: 'ann' })
    const path = folder(t, { 'ca.pem': ca.cert, 'key.pem': client.key, 'cert.pem': client.cert })
    const identities: unknown[] = []
    const filter: FilterModule = { open: client => void identities.push(client.identity) }
    const server = await serve(t, { filters: [filter], ...files, ca: `${path}/ca.pem` })
    const url = `wss://localhost:${new URL(server.url).port}`
    const own = ['--ca', files.cert, '--cert', `${path}/cert.pem`, '--key', `${path}/key.pem`]
    assert.deepEqual(await runCommand(t, ['send', url, ...own]), { code: 0, stdout: '', stderr: [] })
    assert.deepEqual(identities, ['ann'])
  })

  it('on SIGINT sends what it has read', async t => {
    const { url, messages } = await collecting(t)
    const command = startCommand(t, ['send', url])
    command.stdin.write('a\n')
    await until(() => messages.length === 1, 'a message')
    command.stop()
    assert.deepEqual(await command.ended(), { code: 0, stderr: [] })
  })

  it('with --listen writes the messages of the server, also those after the end of the input', async t => {
    const answer: FilterModule = {
      message: async (payload, client) => {
        await new Promise(setImmediate)
        client.send(`${payload}!`)
      },
    }
    const { url } = await serve(t, { filters: [answer] })
    const { code, stdout } = await runCommand(t, ['send', url, '--listen'], 'a\nb\n')
    assert.deepEqual([code, stdout], [0, 'a!\nb!\n'])
  })

  for (const [argv, sentence] of [
    [[], 'send needs a URL before all options: fws-server send ws://127.0.0.1:9000'],
    [['ftp://a'], 'send takes a URL that begins with ws: or wss:, as in fws-server send ws://127.0.0.1:9000'],
    [['secret'], 'send takes a URL that begins with ws: or wss:, as in fws-server send ws://127.0.0.1:9000'],
    [['ws://a', 'secret'], 'unexpected word after the URL; quote values that have spaces'],
    [['ws://a', '--header', 'secret'], '--header takes NAME=VALUE, received a value without a name and "="'],
    [['ws://a', '--header', 'A=secret\n'], '--header takes characters that a header can have, received others'],
    [['ws://a', '--token', 'secret\n'], '--token takes characters that a header can have, received others'],
    [
      ['ws://a', '--token', 'secret', '--header', 'authorization=secret'],
      '--token and --header Authorization exclude each other',
    ],
    [['ws://a', '--protocol', 'a,b'], '--protocol takes different names without spaces and commas, received "a,b"'],
    [['ws://a', '--protocol', 'a', 'a'], '--protocol takes different names without spaces and commas, received "a"'],
    [['ws://a', '--cert', 'a.pem'], '--cert and --key need each other'],
    [
      ['ws://a', '--ca', '/nowhere.pem'],
      "--ca /nowhere.pem cannot be read: ENOENT: no such file or directory, open '/nowhere.pem'",
    ],
    [
      ['ws://a', '--framing', 'line'],
      '--framing takes one of lines, nul, json, length, received "line"; did you mean "lines"?',
    ],
    [['ws://a', '--insecure'], 'unknown option --insecure'],
    [['ws://a', '--topic', 't', '--listen'], '--listen and --topic exclude each other; run listen --topic too'],
  ] as const)
    it(`refuses ${JSON.stringify(argv)}`, async t => {
      const { code, stderr, stdout } = await runCommand(t, ['send', ...argv])
      assert.deepEqual({ code, stderr, stdout }, { code: 2, stderr: [sentence], stdout: '' })
    })
})

describe('fws-server send --topic', () => {
  const KEPT: ServerOptions = {
    filters: ['streams', 'centrifuge'],
    streamsRules: ['chat/* size=1000 ttl=5m'],
    centrifugePublish: true,
  }
  const entriesOf = async (server: RunningServer, topic: string) => {
    const { entries } = await server.read(topic, { from: 'newest', entries: 1000, bytes: 1_000_000 })
    return entries.map(({ payload }) => JSON.parse(String(payload)))
  }

  it('publishes each line, an object or an array as this value, and exits when all are kept', async t => {
    const server = await serve(t, KEPT)
    const lines = ['hello', '{"text":"hi"}', '[1]', '007', 'true', '"x"', '{no', '']
    const ended = await runCommand(
      t,
      ['send', server.url, '--topic', 'chat/1'],
      lines.map(line => `${line}\n`).join(''),
    )
    assert.deepEqual(ended, { code: 0, stdout: '', stderr: [] })
    assert.deepEqual(await entriesOf(server, 'chat/1'), ['hello', { text: 'hi' }, [1], '007', 'true', '"x"', '{no', ''])
  })

  it('keeps the order of many lines', async t => {
    const server = await serve(t, KEPT)
    const lines = Array.from({ length: 1000 }, (_, i) => `line ${i}`)
    assert.equal((await runCommand(t, ['send', server.url, '--topic', 'chat/1'], lines.join('\n'))).code, 0)
    assert.deepEqual(await entriesOf(server, 'chat/1'), lines)
  })

  it('with --framing json publishes to the topic of the line', async t => {
    const server = await serve(t, KEPT)
    const input = '{"data":"a"}\n{"data":"b","topic":"chat/2"}\n{"binary":"AA=="}\n'
    const { code, stderr } = await runCommand(t, ['send', server.url, '--topic', 'chat/1', '--framing', 'json'], input)
    assert.deepEqual(
      [code, stderr],
      [1, ['skipped a message: binary, which topics do not carry', 'messages that were skipped: 1']],
    )
    assert.deepEqual([await entriesOf(server, 'chat/1'), await entriesOf(server, 'chat/2')], [['a'], ['b']])
  })

  it('exits with 1 if publishing is refused', async t => {
    const { url } = await serve(t, { ...KEPT, centrifugePublish: false })
    const { code, stderr } = await runCommand(t, ['send', url, '--topic', 'chat/1'], 'a\nb\n')
    assert.deepEqual([code, stderr], [1, [`${url}/ refuses a message with 103: permission denied`]])
  })

  it('exits with 1, and counts no message as acknowledged, if the server sends the commands back', async t => {
    const { url } = await serve(t, { filters: ['echo'] })
    const { code, stderr } = await runCommand(t, ['send', url, '--topic', 'chat/1'], 'a\nb\n')
    assert.deepEqual([code, stderr], [1, [`${url}/ does not serve topics; --topic needs filter centrifuge there`]])
  })

  it('publishes again what has no reply when the connection breaks', async t => {
    const published: unknown[] = []
    const { url, sockets } = await scripted(t, (command, socket) => {
      if (!command.publish) return accept(command)
      published.push(command.publish.data)
      if (published.length === 2) socket.terminate()
      return published.length === 1 || sockets.length > 1 ? accept(command) : undefined
    })
    const { code, stderr } = await runCommand(t, ['send', url, '--topic', 't'], 'a\nb\nc\n')
    assert.deepEqual([code, published.slice(-2)], [0, ['b', 'c']])
    assert.ok(
      stderr.includes('messages that were not acknowledged are published again: 2 (no reply)'),
      stderr.join('\n'),
    )
  })
})
