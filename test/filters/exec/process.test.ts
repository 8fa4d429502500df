import assert from 'node:assert/strict'
import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import type { ServerOptions } from '../../../src/index.ts'
import { folder, type Test } from '../../support/cli.ts'
import { execOf } from '../../support/exec.ts'
import { collectedLog } from '../../support/log.ts'
import { Peer, serve, until } from '../../support/peer.ts'

const ONLY_MESSAGES = { events: ['message'] }
/** Answers with its process id, and ends itself as a message says. */
const PIDS = `const handle = event => {
  hello('message')(event)
  if (event.data === 'exit') process.exit(3)
  if (event.data === 'kill') process.kill(process.pid, 'SIGKILL')
  if (event.id && event.data !== 'nothing') write({ id: event.id, data: event.data + ' ' + process.pid + (event.again ? ' again' : '') })
}`

async function start(t: Test, filter: NonNullable<ServerOptions['filters']>[number], options: ServerOptions = {}) {
  const { log, logged } = collectedLog()
  const server = await serve(t, { log, filters: [filter, 'echo'], ...options })
  const peer = await Peer.open(server.url)
  const find = (text: RegExp) =>
    logged.filter(({ msg, err }) => text.test(`${msg} ${(err as Error | undefined)?.message}`))
  return {
    server,
    logged,
    peer,
    find,
    logs: (text: RegExp) => until(() => find(text).length > 0, `${text} in ${JSON.stringify(logged)}`),
  }
}

describe('a program that ends', () => {
  it('fails messages by default, and is started again', async t => {
    const { peer, find, logs } = await start(t, execOf(t, PIDS))
    peer.send('a')
    const [first] = await peer.get(1)
    // The second one is handled when the first has failed, while the program is down.
    for (const payload of ['exit', 'lost']) peer.send(payload)
    await logs(/^the program exited with code 3; it is started again in 0\.1 s/)
    await until(() => find(/exec:node failed in its message handler the program exited with code 3/).length === 2)
    await until(() => {
      peer.send('b')
      return peer.received.length > 1
    })
    assert.match(String(peer.received[1]), /^b \d+$/)
    assert.notEqual(String(peer.received[1]).slice(2), String(first).slice(2))
  })

  it('with hold is asked again, in order, and no message is lost', async t => {
    const code = PIDS.replace("'SIGKILL')", "'SIGKILL')").replace('process.kill', '!event.again && process.kill')
    const { peer } = await start(t, [execOf(t, code), { down: 'hold' }])
    for (const payload of ['a', 'kill', 'b', 'c']) peer.send(payload)
    const received = (await peer.get(4)).map(String)
    assert.deepEqual(
      received.map(text => text.replace(/\d+/, 'PID')),
      ['a PID', 'kill PID again', 'b PID', 'c PID'],
    )
  })

  it('with pass lets messages pass unchanged', async t => {
    const { peer } = await start(t, [execOf(t, PIDS), { down: 'pass' }])
    for (const payload of ['exit', 'b']) peer.send(payload)
    const [exit, b] = await peer.get(2)
    assert.equal(exit, 'exit')
    assert.match(String(b), /^b/)
  })

  for (const down of ['fail', 'hold'] as const)
    it(`as a guard with ${down} lets nothing pass`, async t => {
      const code = `const handle = event => {
        hello('connect', 'message')(event)
        if (event.event === 'connect') write({ id: event.id })
        if (event.event === 'message') process.exit(3)
      }`
      const { server, peer, logs } = await start(t, [execOf(t, code, 'exec-guard'), { down, timeout: 3 }])
      peer.send('a')
      await logs(/exec-guard:node failed in its message handler (the program exited|.* within 3 s)/)
      assert.deepEqual(peer.received, [])
      await server.close()
    })

  it('refuses handshakes with 503 that it would have checked', async t => {
    const base = folder(t, {
      'p.sh': `read x; echo '{"hello":1,"events":["connect"]}'; read x; echo '{"id":1}'; exit 1`,
    })
    const { server, logs } = await start(t, `exec-guard:sh ${base}/p.sh`)
    await logs(/started again/)
    renameSync(join(base, 'p.sh'), join(base, 'q.sh'))
    await assert.rejects(Peer.open(server.url), /503/)
    assert.equal(server.counters.refusals[503], 1)
  })

  it('refuses handshakes also while the program begins again and has not answered hello', async t => {
    const base = folder(t, {
      'p.sh': `[ -e $0.again ] && { echo begun >&2; read x; sleep 60; }; read x; touch $0.again
        echo '{"hello":1,"events":["connect"]}'; read x; echo '{"id":1}'; exit 1`,
    })
    const { server, logged, peer } = await start(t, `exec-guard:sh ${base}/p.sh`, { drain: 0 })
    await until(() => logged.some(({ line }) => line === 'begun'))
    await assert.rejects(Peer.open(server.url), /503/)
    peer.ws.close()
  })

  it('is started again later each time that it ends at once', async t => {
    const base = folder(t, { n: '' })
    const { find } = await start(t, [`exec:sh -c "echo >> ${base}/n; read x; exit 1"`, ONLY_MESSAGES])
    await until(() => find(/started again in 0\.4 s/).length > 0)
    assert.deepEqual(
      find(/started again/)
        .slice(0, 3)
        .map(({ msg }) => msg),
      [0.1, 0.2, 0.4].map(s => `the program exited with code 1; it is started again in ${s} s`),
    )
  })

  it('is started again when it exists again', async t => {
    const base = folder(t, { 'p.sh': `read x; read x; [ -e ${'$0'}.gone ] || mv $0 $0.gone; exit 1` })
    const { peer, logs, find } = await start(t, [`exec:sh ${base}/p.sh`, ONLY_MESSAGES])
    peer.send('x')
    await logs(/code (2|127); it is started again/)
    writeFileSync(
      join(base, 'p.sh'),
      `read x; while read x; do echo '{"id":'$(echo "$x" | sed 's/.*"id":\\([0-9]*\\).*/\\1/')',"data":"back"}'; done`,
    )
    await until(() => {
      peer.send('y')
      return peer.received.length > 0
    })
    assert.equal(peer.received[0], 'back')
    assert.ok(find(/started again/).length > 1)
  })

  it('gets the open clients again after a restart, before questions', async t => {
    const code = `
      const seen = []
      const handle = event => {
        seen.push([event.event, event.again, event.url])
        if (event.data === 'exit' && !event.again) process.exit(1)
        if (event.id) write({ id: event.id, data: JSON.stringify(seen) })
      }`
    const events = ['open', 'message', 'disconnect']
    const { server, peer } = await start(t, [execOf(t, code), { down: 'hold', events }])
    const bob = await Peer.open(`${server.url}/bob`)
    const gone = await Peer.open(`${server.url}/gone`)
    gone.ws.close()
    await until(() => server.clients.size === 2)
    bob.send('exit')
    assert.deepEqual(JSON.parse(String((await bob.get(1))[0])), [
      ['hello', null, null],
      ['open', true, '/'],
      ['open', true, '/bob'],
      ['message', true, null],
    ])
    peer.ws.close()
  })
})

describe('a program that does not follow the protocol', () => {
  it('fails a question that it does not answer in time; a late answer is ignored and counted', async t => {
    const code = `
      const late = []
      const handle = event => {
        hello('message')(event)
        const { id, data } = event
        if (data === 'late') return late.push(id)
        for (const id of late.splice(0)) write({ id, data: 'too late' })
        if (id) write({ id })
      }`
    const { server, peer, logs } = await start(t, [execOf(t, code), { timeout: 3 }])
    peer.send('late')
    peer.send('next')
    await logs(/failed in its message handler the program did not answer it within 3 s/)
    assert.deepEqual(await peer.get(1), ['next'])
    assert.equal(server.counters.drops['unexpected answer'], 1)
  })

  it('ignores second answers, answers to other questions, garbage and half a line, and counts them', async t => {
    const code = `const handle = ({ id, data }) => {
      if (!id) return
      for (const line of ['garbage \\x1b', '[1]', '7', 'null', '', '{"id":']) console.log(line)
      for (const other of [999, -1, '1', null, 'x', [id], {}]) write({ id: other, data: 'foreign' })
      write({ id, data: 'first' })
      write({ id, data: 'second' })
      write({})
      if (data === 'half') process.stdout.write('{"id":' + id, () => process.exit(0))
    }`
    const { server, peer, find } = await start(t, [execOf(t, code), ONLY_MESSAGES])
    peer.send('a')
    peer.send('b')
    assert.deepEqual(await peer.get(2), ['first', 'first'])
    peer.send('half')
    await until(() => find(/started again/).length > 0)
    assert.deepEqual(await peer.get(3), ['first', 'first', 'first'])
    assert.deepEqual({ ...server.counters.drops }, { 'malformed line': 16, 'unexpected answer': 27 })
    assert.equal(find(/malformed line/)[0]!.line, 'garbage \\x1b')
    assert.ok(find(/malformed line/).length <= 10)
  })

  for (const [what, close] of [
    ['output', 'exec >&-'],
    ['input', 'exec <&-'],
  ] as const)
    it(`is ended, and started again, when it has closed its standard ${what}`, async t => {
      const base = folder(t, {
        'p.sh': `[ -e $0.closed ] || { read hello; read question; ${close}; touch $0.closed; sleep 60; }
          read hello; while read -r x; do echo '{"id":'$(echo "$x" | sed 's/.*"id":\\([0-9]*\\).*/\\1/')',"data":"again"}'; done`,
      })
      const { server, peer, logs } = await start(t, [`exec:sh ${base}/p.sh`, { ...ONLY_MESSAGES, down: 'hold' }])
      peer.send('a')
      await until(() => existsSync(join(base, 'p.sh.closed')))
      // A closed input is noticed at the next write.
      const other = await Peer.open(server.url)
      other.send('b')
      await logs(new RegExp(`^the program has closed its standard ${what}; it is ended`))
      assert.deepEqual([await peer.get(1), await other.get(1)], [['again'], ['again']])
    })

  it('is ended for a line of 100 MB, in bounded memory', async t => {
    const code = `const handle = ({ id }) => {
      if (!id) return
      const piece = 'x'.repeat(1_000_000)
      for (let i = 0; i < 100; i++) process.stdout.write(piece)
    }`
    const { logs } = await start(t, [execOf(t, code), ONLY_MESSAGES]).then(async started => {
      started.peer.send('x')
      return started
    })
    await logs(/^the program wrote a line of more than 6295552 bytes; it is ended/)
    await logs(/^the program was ended by SIGKILL; it is started again/)
    assert.ok(process.memoryUsage().rss < 1_000_000_000)
  })

  it('is not ended for a message that JSON makes six times as long', async t => {
    const code = `const handle = ({ id, data }) => id && write({ id, data })`
    const { peer } = await start(t, [execOf(t, code), ONLY_MESSAGES], { maxBuffered: 64_000_000 })
    const payload = '\u0001'.repeat(1_048_576)
    peer.send(payload)
    assert.ok((await peer.get(1))[0] === payload)
  })

  it('does not block the server when it reads nothing, and questions end at their deadline', async t => {
    const { server, logs } = await start(t, ['exec:sleep 60', { ...ONLY_MESSAGES, timeout: 0.5 }], { drain: 0 })
    const peers = await Promise.all(Array.from({ length: 10 }, () => Peer.open(server.url)))
    for (const peer of peers) for (let i = 0; i < 3; i++) peer.send('x'.repeat(500_000))
    await logs(/did not (answer|get) it within 0\.5 s/)
    await until(
      () => server.handlers.find(({ chain, filter }) => chain === 'message' && filter === 'exec:sleep')!.failed === 30,
    )
  })

  for (const [pipe, redirection] of [
    ['input', '0<&-'],
    ['output', '1>&-'],
  ] as const)
    it(`is started again when it has closed its standard ${pipe}`, async t => {
      const command = `exec:sh -c "exec ${redirection}; sleep 60"`
      const { peer, find, logs } = await start(t, [command, { ...ONLY_MESSAGES, timeout: 0.1 }], { drain: 0 })
      await until(() => {
        // The first one may be written before the pipe is closed.
        peer.send('x')
        return find(new RegExp(`^the program has closed its standard ${pipe}; it is ended`)).length > 0
      })
      await logs(/^the program was ended by SIGKILL; it is started again/)
    })

  it('does not block the server when it floods', async t => {
    const code = `const handle = ({ id }) => {
      if (!id) return
      const noise = 'noise\\n'.repeat(20_000)
      for (let i = 0; i < 5; i++) process.stdout.write(noise)
      write({ id })
    }`
    const { server, peer, find } = await start(t, [execOf(t, code), ONLY_MESSAGES])
    peer.send('x')
    assert.deepEqual(await peer.get(1), ['x'])
    assert.equal(server.counters.drops['malformed line'], 100_000)
    assert.ok(find(/malformed line/).length <= 100)
  })
})

describe('the stop of a program', () => {
  it('writes stop, closes its standard input, and waits for its end', async t => {
    const base = folder(t)
    const code = `
      import { appendFileSync } from 'node:fs'
      const handle = ({ event }) => appendFileSync('${base}/seen', event + ' ')
      process.stdin.on('end', () => appendFileSync('${base}/seen', 'end'))`
    const { server } = await start(t, [execOf(t, code), ONLY_MESSAGES], { drain: 20 })
    await server.close()
    assert.equal(readFileSync(join(base, 'seen'), 'utf8'), 'hello stop end')
  })

  it('ends a program that stays by SIGTERM after --drain, and its children', async t => {
    const base = folder(t)
    const script = `trap 'echo term > ${base}/seen; exit' TERM; sleep 60 & echo $! > ${base}/pid; while :; do wait; done`
    const { server, peer } = await start(t, [`exec:sh -c "${script.replaceAll('"', '\\"')}"`, ONLY_MESSAGES], {
      drain: 0.2,
    })
    await until(() => existsSync(join(base, 'pid')) && readFileSync(join(base, 'pid'), 'utf8').endsWith('\n'))
    peer.ws.close()
    await server.close()
    assert.equal(readFileSync(join(base, 'seen'), 'utf8'), 'term\n')
    const child = Number(readFileSync(join(base, 'pid'), 'utf8'))
    await until(() => !existsSync(`/proc/${child}`) || /\) Z /.test(readFileSync(`/proc/${child}/stat`, 'utf8')))
  })

  it('ends while the program waits for its restart', async t => {
    const { server, logs } = await start(t, ['exec:sh -c "read x; exit 1"', ONLY_MESSAGES])
    await logs(/started again in 0\.2 s/)
    await server.close()
  })
})
