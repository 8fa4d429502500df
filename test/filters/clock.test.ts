import assert from 'node:assert/strict'
import { describe, it, type TestContext } from 'node:test'
import type { ClockApi } from '../../filters/clock.ts'
import type { FilterModule, Host } from '../../src/contract/filter.ts'
import { folder, launch, refusal } from '../support/cli.ts'
import { answerTo, ntpServer } from '../support/ntp.ts'
import { serve, until } from '../support/peer.ts'

/** A server without messaging, and the clock as another filter uses it. */
async function clockOf(t: TestContext, options: object = {}): Promise<ClockApi> {
  let api!: ClockApi
  const user: FilterModule = {
    uses: ['clock'],
    setup: (host: Host) => {
      api = host.use('clock' as never) as ClockApi
    },
  }
  await serve(t, { filters: [user], ...options })
  return api
}

describe('filter clock', () => {
  it('gives other filters the time, without messaging', async t => {
    const clock = await clockOf(t)
    assert.ok(Math.abs(clock.now() - Date.now() / 1000) < 0.1)
    await assert.rejects(clock.ntpTime(), { message: 'ntpTime() needs a server, or --messaging-ntp' })
  })

  it('is corrected by NTP, without messaging', async t => {
    const ntp = await ntpServer(t, query => answerTo(query, 100))
    const clock = await clockOf(t, { messagingNtp: ntp.at })
    await until(() => clock.now() - Date.now() / 1000 > 99)
  })

  for (const [what, answer, offset] of [
    ['ahead', (now: number) => [now + 5, now + 5], 5],
    ['behind', (now: number) => [now - 3600, now - 3600], -3600],
    ['equal', (now: number) => [now, now], 0],
    ['ahead by a fraction', (now: number) => [now + 0.25, now + 0.25], 0.25],
    ['ahead by years', (now: number) => [now + 1e9, now + 1e9], 1e9],
    ['at the end before the beginning', (now: number) => [now, now - 1], undefined],
    ['longer at work than the round trip', (now: number) => [now, now + 60], undefined],
  ] as const)
    it(`measures a clock that is ${what}`, async t => {
      const clock = await clockOf(t)
      let asked = 0
      const found = await clock.measureOffset(async () => {
        asked++
        const [from, to] = answer(clock.now())
        return [from!, to!]
      })
      assert.equal(asked, 8)
      if (offset === undefined) assert.equal(found, undefined)
      else assert.ok(Math.abs(found!.offset - offset) <= found!.error + 0.002, JSON.stringify(found))
    })

  it('rejects with the error of a clock that does not answer', async t => {
    const clock = await clockOf(t)
    await assert.rejects(
      clock.measureOffset(() => Promise.reject(new Error('gone'))),
      { message: 'gone' },
    )
  })

  describe('options of filters that messaging uses', () => {
    for (const filter of ['messaging', 'clock'])
      it(`are those of ${filter}, as flag, in the environment and in a config file`, async t => {
        const ntp = await ntpServer(t, query => answerTo(query, 100))
        const cwd = folder(t, { 'fws.json': JSON.stringify({ 'messaging-ntp': ntp.at }) })
        const argv = ['-f', filter, '-p', '0']
        for (const [more, env] of [
          [['--messaging-ntp', ntp.at], {}],
          [[], { FWS_MESSAGING_NTP: ntp.at }],
          [['-c', 'fws.json'], {}],
        ] as const) {
          const server = await launch(t, [...argv, ...more], { cwd, env })
          await until(() => server.logged().some(({ msg }) => msg === `the clock is corrected by NTP server ${ntp.at}`))
        }
      })

    it('are unknown without one of them', async t => {
      assert.match(
        await refusal(['-f', 'echo', '-p', '0', '--messaging-ntp', 'a'], { cwd: folder(t) }),
        /^unknown option --messaging-ntp/,
      )
    })
  })
})
