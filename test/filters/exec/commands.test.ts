import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Commands } from '../../../filters/exec/commands.ts'
import type { FilterModule, Server, ServerOptions } from '../../../src/index.ts'
import type { Test } from '../../support/cli.ts'
import { execOf } from '../../support/exec.ts'
import { gate } from '../../support/gate.ts'
import { collectedLog } from '../../support/log.ts'
import { Peer, serve, until } from '../../support/peer.ts'

/** Carries out the commands in each message, in which \`ME\` is the sender; answers a reference with its result. */
const OBEY = `
const names = {}
const handle = event => {
  if (event.event === 'open') names[event.url.slice(1)] = event.client
  const named = command => ({
    ...command,
    ...(command.client && { client: names[command.client] ?? command.client }),
    ...(command.as && { as: names[command.as] ?? command.as }),
    ...(command.except && { except: names[command.except] }),
  })
  if (event.ref !== undefined) write({ do: 'send', client: names.ann, data: JSON.stringify(event) })
  if (event.event !== 'message') return
  for (const command of JSON.parse(event.data)) write(named(command))
  write({ id: event.id, drop: true })
}`

async function start(t: Test, filters: NonNullable<ServerOptions['filters']> = [], options: ServerOptions = {}) {
  const { log, logged } = collectedLog()
  const obeying = [execOf(t, OBEY), { events: ['open', 'message'] }] as const
  const server = await serve(t, { log, filters: [...filters, obeying, 'echo'], ...options })
  const ann = await Peer.open(`${server.url}/ann`)
  const bob = await Peer.open(`${server.url}/bob`)
  return { server, logged, ann, bob, obey: (...commands: object[]) => ann.send(JSON.stringify(commands)) }
}

describe('commands of a program', () => {
  it('send, broadcast, join and leave, in the order of the lines', async t => {
    const { ann, bob, obey } = await start(t)
    obey(
      { do: 'send', client: 'bob', data: '1' },
      { do: 'broadcast', data: '2' },
      { do: 'broadcast', data: '3', except: 'ann' },
      { do: 'join', client: 'bob', topic: 'room' },
      { do: 'broadcast', topic: 'room', binary: 'NA==' },
      { do: 'leave', client: 'bob', topic: 'room' },
      { do: 'broadcast', topic: 'room', data: 'never' },
      { do: 'broadcast', data: 'end' },
    )
    assert.deepEqual(await bob.get(5), ['1', '2', '3', Buffer.from('4'), 'end'])
    assert.deepEqual(await ann.get(2), ['2', 'end'])
  })

  it('disconnect with a code and a reason', async t => {
    const { bob, obey } = await start(t)
    obey({ do: 'disconnect', client: 'bob', code: 4001, reason: 'enough' })
    assert.deepEqual(await bob.end(), { code: 4001, reason: 'enough' })
  })

  it('append to a kept topic, and report the position', async t => {
    const { ann, obey } = await start(t, [
      { retain: topic => (topic === 'kept' ? { size: 10, ttlMs: 60_000, full: 'trim' } : undefined) },
    ])
    obey(
      { do: 'append', topic: 'kept', data: 'x', key: 'k', ref: 1 },
      { do: 'append', topic: 'kept', data: 'x', key: 'k', ref: 2 },
    )
    const [first, second] = (await ann.get(2)).map(text => JSON.parse(String(text)))
    assert.deepEqual([first.event, first.ref, first.position.offset], ['done', 1, 1])
    assert.deepEqual([second.event, second.position], ['done', first.position])
  })

  for (const [command, error] of [
    [{ do: 'explode' }, '"do" is one of send, broadcast, join, leave, disconnect, append, received explode'],
    [{ do: 'toString' }, '"do" is one of send, broadcast, join, leave, disconnect, append, received toString'],
    [{ do: null }, '"do" is one of send, broadcast, join, leave, disconnect, append, received null'],
    [{ do: 'send', client: 'missing', data: '' }, 'no client missing is open on this node'],
    [{ do: 'send', data: '' }, '"client" must be a string, received undefined'],
    [{ do: 'send', client: 'ann' }, 'it needs "data" or "binary"'],
    [{ do: 'send', client: 'ann', data: 1 }, '"data" must be a string, received number'],
    [{ do: 'broadcast', topic: 7, data: '' }, '"topic" must be a string, received 7'],
    [
      { do: 'disconnect', client: 'bob', code: 1 },
      'a close code is 1000 to 1014 (not 1004 to 1006) or 3000 to 4999, received 1',
    ],
    [{ do: 'disconnect', client: 'bob', code: 'x' }, '"code" must be a number, received x'],
    [{ do: 'append', topic: 'none', data: '' }, 'append() needs a kept topic; no filter keeps topics: see -f streams'],
    [{ do: 'broadcast', as: 'missing', data: '' }, 'no client missing is open on this node'],
  ] as const)
    it(`report a failure: ${JSON.stringify(command)}`, async t => {
      const { ann, logged, obey } = await start(t)
      obey({ ...command, ref: 'r' }, command, { do: 'send', client: 'ann', data: 'end' })
      await until(() => ann.received.length === 2)
      const result = ann.received.find(text => text !== 'end')
      assert.deepEqual(JSON.parse(String(result)), { event: 'failed', ref: 'r', error })
      const failures = () => logged.filter(({ msg }) => msg === 'a command of the program failed')
      await until(() => failures().length === 1)
      assert.equal(failures()[0]!.problem, error)
    })

  it('act as the server, or under the permits of a client', async t => {
    const permit: FilterModule = {
      permit: ({ topic }, { handshake }) => topic !== 'secret' || handshake?.url.pathname === '/bob',
    }
    const { ann, bob, obey } = await start(t, [permit])
    obey(
      { do: 'join', client: 'ann', topic: 'secret', ref: 1 },
      { do: 'join', client: 'bob', topic: 'secret' },
      { do: 'broadcast', as: 'ann', topic: 'secret', data: 'as ann', ref: 2 },
      { do: 'broadcast', as: 'bob', topic: 'secret', data: 'as bob' },
      { do: 'broadcast', topic: 'secret', data: 'as the server' },
    )
    assert.deepEqual(await bob.get(2), ['as bob', 'as the server'])
    const failed = (await ann.get(2)).map(text => JSON.parse(String(text)))
    assert.deepEqual(
      failed.map(({ event, ref }) => [event, ref]),
      [
        ['failed', 1],
        ['failed', 2],
      ],
    )
  })

  it('pause the output of the program while 1 MiB of them and of their unread results waits', async () => {
    const calls: string[] = []
    const { opened, open } = gate()
    let unwritten = 0
    const commands = new Commands({
      server: { append: () => opened.then(() => ({ position: { epoch: 'e', offset: 1 } })) } as unknown as Server,
      write: line => void calls.push(line),
      get unwritten() {
        return unwritten
      },
      pause: () => calls.push('pause'),
      resume: () => calls.push('resume'),
      failed: (_, problem) => assert.fail(problem),
    })
    for (let i = 0; i < 3; i++) commands.run({ do: 'append', topic: 't', data: '' }, 500_000)
    assert.deepEqual(calls, ['pause'])
    open()
    await until(() => calls.length === 2)
    assert.deepEqual(calls, ['pause', 'resume'])
    unwritten = 5_000_000
    const ref = 'r'.repeat(1_100_000)
    commands.run({ do: 'append', topic: 't', data: '', ref }, 100)
    await until(() => calls.length === 4)
    assert.deepEqual(calls.slice(3), ['pause'])
    commands.drained()
    assert.deepEqual(calls.slice(3), ['pause', 'resume'])
  })
})
