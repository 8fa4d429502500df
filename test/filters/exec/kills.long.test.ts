import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { setTimeout as sleep } from 'node:timers/promises'
import type { FilterModule } from '../../../src/index.ts'
import { execOf } from '../../support/exec.ts'
import { collectedLog } from '../../support/log.ts'
import { Peer, serve, until } from '../../support/peer.ts'

const CLIENTS = 20
/** Of each client, at least. */
const MESSAGES = 2000
const KILLS = 4

/** Marks each message with its process id, after a short and random time. */
const MARK = `
const handle = event => {
  const { id, data } = event
  if (id) setTimeout(() => write({ id, data: data + ' ' + process.pid }), Math.random() * 4)
}`

describe('a program that is killed under load', () => {
  for (const down of ['fail', 'hold', 'pass'] as const)
    it(`with ${down} loses, doubles and reorders nothing beyond what the docs say`, async t => {
      const { log, logged } = collectedLog()
      const filters = [[execOf(t, MARK), { down, events: ['open', 'message'] }], 'echo'] as const
      const server = await serve(t, { log, filters: [...filters], maxBuffered: 64_000_000 })
      const peers = await Promise.all(Array.from({ length: CLIENTS }, () => Peer.open(server.url)))
      const step = () => server.handlers.find(({ chain, filter }) => chain === 'message' && filter === 'exec:node')!
      const handled = () => server.handlers.find(({ chain, filter }) => chain === 'message' && filter === 'echo')!.calls
      const killed = new Set<number>()
      /** The process that has answered last, unless it was killed. */
      const current = () =>
        peers
          .map(({ received }) => Number(String(received.at(-1)).split(' ')[1]))
          .find(pid => pid > 0 && !killed.has(pid))
      const numbers: number[] = []
      // Without messages no process answers.
      for (let i = 0; i < MESSAGES || killed.size < KILLS; i++) {
        const pid = i >= 200 + killed.size * (MESSAGES / KILLS) ? current() : undefined
        if (pid !== undefined && killed.size < KILLS) {
          killed.add(pid)
          process.kill(pid, 'SIGKILL')
        }
        numbers.push(i)
        for (const peer of peers) peer.send(`${i}`)
        await sleep(1)
      }
      const sent = CLIENTS * numbers.length
      await until(() => handled() + step().failed === sent, 'all messages', 120_000)
      await until(() => peers.reduce((sum, { received }) => sum + received.length, 0) === handled())

      for (const { received } of peers) {
        const got = received.map(text => Number(String(text).split(' ')[0]))
        if (down === 'fail')
          assert.deepEqual(
            got,
            [...new Set(got)].sort((a, b) => a - b),
          )
        else assert.deepEqual(got, numbers)
      }
      const unmarked = peers.flatMap(({ received }) => received.filter(text => !String(text).includes(' '))).length
      assert.equal(logged.filter(({ msg }) => /SIGKILL; it is started again/.test(String(msg))).length, KILLS)
      assert.equal(unmarked > 0, down === 'pass')
      assert.equal(step().failed > 0, down === 'fail')
      t.diagnostic(`${step().failed} failed, ${unmarked} unmarked of ${sent}`)
    })
})

describe('a program that ignores the end of its input and SIGTERM', () => {
  const STUBBORN = `exec:sh -c "trap '' TERM; echo $$ >&2; while :; do sleep 0.1; done"`

  for (const [when, options] of [
    ['is killed when the server stops', {}],
    ['is killed when the start fails', { host: '192.0.2.1' }],
  ] as const)
    it(when, async t => {
      const { log, logged } = collectedLog()
      const begun: FilterModule = { start: () => until(() => logged.some(({ line }) => line !== undefined)) }
      const filters = [[STUBBORN, { events: ['message'] }], begun, 'echo'] as const
      const work = serve(t, { log, drain: 0.2, filters: [...filters], ...options }).then(server => server.close())
      if ('host' in options) await assert.rejects(work, { code: 'ERR_LISTEN' })
      else await work
      const pid = Number(logged.find(({ line }) => line !== undefined)?.line)
      assert.ok(pid > 0)
      assert.throws(() => process.kill(pid, 0), { code: 'ESRCH' })
      assert.deepEqual(
        logged.filter(({ msg }) => /stop of filter/.test(String(msg))),
        [],
      )
    })
})
