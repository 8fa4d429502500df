import assert from 'node:assert/strict'
import { spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { describe, it } from 'node:test'
import { Worker } from 'node:worker_threads'
import { processorTime } from '../../bench/processor-time.ts'

/** Microseconds: two ticks of 10 ms, and a scheduler tick before and after. */
const TOLERANCE = 40_000
const skip = process.platform !== 'linux' && 'without /proc'

const burn = (ms: number) => `for (const end = process.cpuUsage().user + ${ms * 1000}; process.cpuUsage().user < end;);`

function burnHere(ms: number): void {
  const { user } = process.cpuUsage()
  while (process.cpuUsage().user < user + ms * 1000);
}

async function worker(code: string): Promise<void> {
  await once(new Worker(code, { eval: true }), 'exit')
}

describe('processorTime', { skip }, () => {
  it('counts less than a tick', () => {
    const parts = new Set<number>()
    for (let i = 0; i < 10; i++) {
      burnHere(3)
      parts.add(processorTime(process.pid) % 10_000)
    }
    assert.ok(parts.size > 2, `${[...parts]}`)
  })

  const work: Readonly<Record<string, () => void | Promise<void>>> = {
    'the main thread': () => burnHere(100),
    'the kernel': () => {
      const { system } = process.cpuUsage()
      while (process.cpuUsage().system < system + 50_000) readFileSync('/proc/self/status')
    },
    'a thread that has ended': () => worker(burn(100)),
    'threads that have ended, one after the other': async () => {
      for (let i = 0; i < 3; i++) await worker(burn(40))
    },
    'threads that have ended at the same time': async () => {
      await Promise.all([1, 2, 3].map(() => worker(burn(60))))
    },
    'a thread that runs': async () => {
      const running = new Worker(
        `${burn(100)} require('node:worker_threads').parentPort.postMessage(0); setInterval(() => {}, 1e6)`,
        { eval: true },
      )
      await once(running, 'message')
      running.unref()
    },
  }
  for (const [name, run] of Object.entries(work)) {
    it(`counts ${name}`, async () => {
      const [before, usage] = [processorTime(process.pid), process.cpuUsage()]
      await run()
      const time = processorTime(process.pid) - before
      const { user, system } = process.cpuUsage(usage)
      assert.ok(Math.abs(time - user - system) < TOLERANCE, `${time} of ${user + system}`)
    })
  }

  it('counts another process', async t => {
    const child = spawn(process.execPath, ['-e', `${burn(200)} console.log(); setInterval(() => {}, 1e6)`])
    t.after(() => child.kill('SIGKILL'))
    await once(child.stdout!, 'data')
    assert.ok(processorTime(child.pid!) > 200_000 - TOLERANCE)
  })

  it('throws for a process that has ended', async () => {
    const child = spawn(process.execPath, ['-e', ''])
    await once(child, 'exit')
    assert.throws(() => processorTime(child.pid!), { code: 'ENOENT' })
  })
})
