import assert from 'node:assert/strict'
import { createSocket } from 'node:dgram'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it, type TestContext } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import { Clock } from '../../../filters/clock/clock.ts'
import { askNtp } from '../../../filters/clock/ntp.ts'
import { NtpSync } from '../../../filters/clock/ntp-sync.ts'
import type { MessagingApi } from '../../../filters/messaging.ts'
import { folder, refusal, root } from '../../support/cli.ts'
import { building, door, request } from '../../support/messaging.ts'
import { answerTo, instant, ntpServer } from '../../support/ntp.ts'
import { until } from '../../support/peer.ts'
import { freePort } from '../../support/port.ts'

const clock = new Clock()
const now = () => clock.system

/** Asserts that an offset is within its error, and the inaccuracy of the test's clock. */
function within({ offset, error }: { offset: number; error: number }, truth: number): void {
  assert.ok(Math.abs(offset - truth) <= error + 0.002, `${offset} is not ${truth} within ${error}`)
}

/** Asserts that a clock that is `ahead` seconds fast was read since an instant, in milliseconds. */
function assertReadSince(begun: number, seconds: number, ahead: number): void {
  const [from, to] = [begun / 1000 + ahead, Date.now() / 1000 + ahead]
  assert.ok(seconds > from - 0.5 && seconds < to + 0.5, `${seconds} is not from ${from} to ${to}`)
}

/** Replaces the timestamp at an offset by one so many seconds from now. */
function changed(answer: Buffer, at: number, seconds: number): Buffer {
  instant(Date.now() / 1000 + seconds).copy(answer, at)
  return answer
}

describe('an NTP server', () => {
  it('gets the query of clever-show', async t => {
    const server = await ntpServer(t, query => answerTo(query))
    await askNtp(server, now)
    const { vectors } = JSON.parse(readFileSync(join(root, 'test/vectors/clever-show.json'), 'utf8'))
    const { hex } = vectors.find(({ name }: { name: string }) => name === 'ntp/query')
    const [query] = server.queries
    assert.equal(query!.toString('hex', 0, 40), hex.slice(0, 80))
    // clever-show sends zeros here, and accepts any answer.
    assert.equal(query!.length, 48)
    assert.notEqual(query!.toString('hex', 40), hex.slice(80))
  })

  for (const ahead of [0, 5.5, -3600.25, 20 * 365 * 86_400])
    it(`is ${ahead} seconds ahead`, async t => {
      const server = await ntpServer(t, query => answerTo(query, ahead))
      const time = await askNtp({ host: 'localhost', port: server.port }, now)
      within(time, ahead)
      assert.ok(time.error < 1, `${time.error}`)
    })

  it('has an error of at most half of the network delay', async t => {
    const there = await ntpServer(t, async query => {
      await sleep(500)
      return answerTo(query, 10)
    })
    const back = await ntpServer(t, async query => {
      const answer = answerTo(query, 10)
      await sleep(500)
      return answer
    })
    const [late, early] = await Promise.all([askNtp(there, now), askNtp(back, now)])
    within(late, 10)
    within(early, 10)
    assert.ok(late.offset > 10.01 && early.offset < 9.99, `${late.offset} ${early.offset}`)
  })

  it('is measured without its processing time', async t => {
    const server = await ntpServer(t, async query => {
      const begun = now()
      const answer = answerTo(query)
      await sleep(1000)
      instant(begun + 10).copy(answer, 32)
      instant(now() + 10).copy(answer, 40)
      return answer
    })
    const time = await askNtp(server, now)
    within(time, 10)
    assert.ok(time.error < 0.49, `${time.error}`)
  })

  it('may leave out timestamps, and send a longer answer', async t => {
    const simple = await ntpServer(t, query => answerTo(query, 10).fill(0, 24, 40))
    within(await askNtp(simple, now), 10)
    const long = await ntpServer(t, query => Buffer.concat([answerTo(query, 10), Buffer.alloc(20)]))
    within(await askNtp(long, now), 10)
  })

  it('is the one that was queried', async t => {
    const server = await ntpServer(t, async (query, { port }) => {
      const stranger = createSocket('udp4')
      await new Promise(sent => stranger.send(answerTo(query, 1000), port, '127.0.0.1', sent))
      stranger.close()
      await sleep(50)
      return answerTo(query, 10)
    })
    within(await askNtp(server, now), 10)
  })

  const wrong: readonly (readonly [what: string, change: (answer: Buffer) => Buffer, why: string])[] = [
    ['an answer that is too short', answer => answer.subarray(0, 47), 'an answer of 47 bytes'],
    ['nothing', () => Buffer.alloc(0), 'an answer of 0 bytes'],
    ['a query', answer => answer.fill(0x1b, 0, 1), 'mode 3, a server answers with mode 4'],
    ['a kiss of death', answer => answer.fill(0, 1, 2), 'its clock is not synchronized, or it refuses: stratum 0'],
    ['stratum 16', answer => answer.fill(16, 1, 2), 'its clock is not synchronized, or it refuses: stratum 16'],
    ['an alarm', answer => answer.fill(0xdc, 0, 1), 'its clock is not synchronized, or it refuses: stratum 2'],
    ['an answer to another', answer => answer.fill(7, 24, 32), 'an answer to another query'],
    ['no time', answer => answer.fill(0, 40), 'an answer without a transmit timestamp'],
    [
      'an instant before it was asked',
      answer => changed(answer, 40, -1),
      'it claims a longer processing time than the round trip',
    ],
    [
      'an instant before it could be asked',
      answer => changed(answer, 32, -10),
      'it claims a longer processing time than the round trip',
    ],
  ]
  for (const [what, change, why] of wrong)
    it(`is refused with ${what}`, async t => {
      const server = await ntpServer(t, query => change(answerTo(query)))
      await assert.rejects(askNtp(server, now), { message: `NTP server ${server.at}: ${why}` })
    })

  it('has two seconds', async t => {
    const silent = await ntpServer(t, () => undefined)
    const late = await ntpServer(t, query => sleep(2300, answerTo(query)))
    const begun = Date.now()
    await Promise.all(
      [silent, late].map(server =>
        assert.rejects(askNtp(server, now), { message: `NTP server ${server.at} has not answered within 2000 ms` }),
      ),
    )
    assert.ok(Date.now() - begun < 10_000)
  })

  it('may be unreachable or aborted', async t => {
    await assert.rejects(askNtp({ host: '127.0.0.1', port: await freePort() }, now), { code: 'ECONNREFUSED' })
    await assert.rejects(askNtp({ host: 'nobody.invalid', port: 123 }, now), { code: /ENOTFOUND|EAI_AGAIN/ })
    // An unreachable network: the system refuses at once.
    await assert.rejects(askNtp({ host: '255.255.255.255', port: 123 }, now), { code: 'EACCES' })
    const ending = new AbortController()
    const silent = await ntpServer(t, () => undefined)
    const asked = askNtp(silent, now, ending.signal)
    ending.abort(new Error('enough'))
    await assert.rejects(asked, { message: 'enough' })
  })
})

describe('--messaging-ntp', () => {
  async function room(t: TestContext, messagingNtp: string | undefined) {
    let api!: MessagingApi
    const application = building(given => {
      api = given
    })
    return { ...(await door(t, [application], messagingNtp === undefined ? {} : { messagingNtp })), api: () => api }
  }

  it('corrects the clock of the server', async t => {
    const ntp = await ntpServer(t, query => answerTo(query, 100))
    const { api, peer, logged } = await room(t, ntp.at)
    await until(() => api().now() - Date.now() / 1000 > 99)
    assert.ok(Math.abs(api().now() - Date.now() / 1000 - 100) < 0.5)
    const ann = await peer()
    const begun = Date.now()
    ann.send(request('time', '0001'))
    const [said] = await ann.get(1)
    assertReadSince(begun, Number((said as { value: unknown }).value), 100)
    const line = logged.find(({ msg }) => msg === `the clock is corrected by NTP server ${ntp.at}`)
    assert.deepEqual([line!.level, Math.round(Number(line!.offset))], [30, 100])
    assertReadSince(begun, await api().ntpTime(), 100)
  })

  it('does not delay the start, and the clock is not corrected before an answer', async t => {
    const silent = await ntpServer(t, () => undefined)
    const starts: number[] = []
    let started: Awaited<ReturnType<typeof room>>
    do {
      const begun = Date.now()
      started = await room(t, silent.at)
      starts.push(Date.now() - begun)
    } while (starts.length < 3 && starts.at(-1)! >= 1500)
    assert.ok(starts.at(-1)! < 1500, `${starts} ms`)
    const { api, server, logged } = started
    assert.ok(Math.abs(api().now() - Date.now() / 1000) < 0.1)
    const told = () => logged.filter(({ level }) => level === 40)
    await until(() => told().length === 1)
    assert.equal(told()[0]!.msg, `NTP server ${silent.at} gave no valid answer; the clock keeps its correction`)
    assert.match(JSON.stringify(told()[0]!.err), /has not answered within 2000 ms/)
    await server.close()
  })

  it('does not delay a stop', async t => {
    const silent = await ntpServer(t, () => undefined)
    const { server, logged } = await room(t, silent.at)
    await until(() => silent.queries.length === 1)
    await server.close()
    assert.deepEqual(
      logged.filter(({ level }) => Number(level) >= 40),
      [],
    )
  })

  it('asks again every 64 seconds, keeps the correction, and logs changes', async t => {
    let mood: 'right' | 'wrong' = 'right'
    const ntp = await ntpServer(t, query => (mood === 'right' ? answerTo(query, 100) : Buffer.from('?')))
    const logged: string[] = []
    let [again, ms] = [() => {}, 0]
    const keep = (_: object, text: string) => logged.push(text)
    const host = {
      log: { info: keep, warn: keep, debug: () => logged.push('debug') },
      every: (every: number, run: () => void) => ([ms, again] = [every, run]),
    }
    const clock = new Clock()
    const sync = new NtpSync({ host: '127.0.0.1', port: ntp.port }, clock, host as never)
    t.after(() => sync.close())
    sync.ask()
    await until(() => logged.length === 1)
    for (const next of ['right', 'wrong', 'wrong', 'right'] as const) {
      mood = next
      const { length } = logged
      again()
      await until(() => logged.length === length + 1)
      assert.equal(Math.round(clock.correction), 100)
    }
    assert.equal(ms, 64_000)
    const there = `NTP server ${ntp.at}`
    assert.deepEqual(logged, [
      `the clock is corrected by ${there}`,
      'debug',
      `${there} gave no valid answer; the clock keeps its correction`,
      'debug',
      `the clock is corrected by ${there}`,
    ])
  })

  it('is not needed by ntpTime()', async t => {
    const { api } = await room(t, undefined)
    await assert.rejects(api().ntpTime(), { message: 'ntpTime() needs a server, or --messaging-ntp' })
    await assert.rejects(api().ntpTime('a b'), {
      message: 'the server of ntpTime() is HOST or HOST:PORT, received "a b"',
    })
    const ntp = await ntpServer(t, query => answerTo(query, -50))
    const begun = Date.now()
    assertReadSince(begun, await api().ntpTime(ntp.at), -50)
    assert.ok(Math.abs(api().now() - Date.now() / 1000) < 0.1)
  })

  it('takes a host', async t => {
    const argv = ['-f', 'messaging', '-p', '0', '--messaging-ntp', 'a/b']
    assert.equal(
      await refusal(argv, { cwd: folder(t) }),
      'filter clock: --messaging-ntp is HOST or HOST:PORT, received "a/b"',
    )
  })
})
