import assert from 'node:assert/strict'
import { describe, it } from 'node:test'
import { Launched, root, run, type Test } from '../support/cli.ts'
import { until } from '../support/peer.ts'

const command = [`${root}/bench/run.mjs`]
const soak = (...options: string[]) => run(['soak', ...options], { command })
const KINDS = ['resident', 'churn', 'compressed', 'reset', 'half-open', 'half a handshake', 'slow reader', 'bad frame']
const row = String.raw` +\d+\.\d\d +\d+\.\d +\d+\.\d +\d+ +\d+\n`

/** A soak that runs, and the process id of its server. */
async function started(t: Test): Promise<{ soak: Launched; server: number }> {
  const soak = new Launched(['soak', '--minutes', '5'], { command })
  t.after(async () => {
    await soak.kill()
  })
  // The first row.
  await until(() => new RegExp(`handles\n${row}`).test(soak.stdout) || soak.child.exitCode !== null, 'a row', 60_000)
  return { soak, server: Number(/^server (\d+)/.exec(soak.stdout)?.[1]) }
}

describe('the soak', () => {
  it('prints the resources, has visitors of each kind, and ends without clients', async () => {
    const { code, stdout, stderr } = await soak('--minutes', '0.05', '--limit', '1e9')
    assert.deepEqual({ code, stderr }, { code: 0, stderr: '' })
    const visits = KINDS.map(kind => `${kind} [1-9]\\d*`).join(', ')
    const head = String.raw`server \d+, 0\.05 minutes\n minute  RSS MiB  heap MiB  clients  handles\n`
    const end = String.raw`RSS over the last two thirds: \S+ KiB/minute, limit 1000000000; clients left: 0\n`
    assert.match(stdout, new RegExp(`^${head}(${row}){2,}visits: ${visits}\n${end}$`))
  })

  it('fails if the memory grows by more than the limit', async () => {
    const { code, stderr } = await soak('--minutes', '0.2', '--limit=-1e9')
    assert.equal(code, 1)
    assert.match(stderr, /^failed: RSS grows by -?\d+ KiB\/minute, more than --limit -1000000000\n$/)
  })

  it('fails if the server dies', async t => {
    const { soak, server } = await started(t)
    process.kill(server, 'SIGKILL')
    const { code, stderr } = await soak.ended()
    assert.equal(code, 1)
    assert.match(stderr, /^failed: the server exited with SIGKILL: /)
  })

  it('fails if the server hangs, and ends it', async t => {
    const { soak, server } = await started(t)
    process.kill(server, 'SIGSTOP')
    const { code, stderr } = await soak.ended()
    assert.deepEqual(
      { code, stderr },
      { code: 1, stderr: 'failed: the server does not answer: no answer within 10000 ms\n' },
    )
    assert.throws(() => process.kill(server, 0), { code: 'ESRCH' })
  })

  const refused: Readonly<Record<string, string>> = {
    '--minutes=0': '--minutes takes a number above 0, received "0"',
    '--minutes=-1': '--minutes takes a number above 0, received "-1"',
    '--minutes=ten': '--minutes takes a number above 0, received "ten"',
    '--minutes=Infinity': '--minutes takes a number above 0, received "Infinity"',
    '--minutes=': '--minutes takes a number above 0, received ""',
    '--limit=': '--limit takes a number, received ""',
    '--limit=512KiB': '--limit takes a number, received "512KiB"',
  }
  for (const [option, sentence] of Object.entries(refused)) {
    it(`refuses ${option}`, async () => {
      const { code, stdout, stderr } = await soak(option)
      assert.deepEqual({ code, stdout, stderr }, { code: 2, stdout: '', stderr: `${sentence}\n` })
    })
  }
})
