import assert from 'node:assert/strict'
import { chmodSync, readFileSync } from 'node:fs'
import { join } from 'node:path'
import { describe, it } from 'node:test'
import { folder } from '../support/cli.ts'
import { isAlive } from '../support/is-alive.ts'
import { collectedLog } from '../support/log.ts'
import { Peer, serve, until } from '../support/peer.ts'

/** Ignores SIGINT and SIGTERM, with a child process that does not. */
const STUBBORN = `#!/bin/sh
cd "$(dirname "$0")"
trap "echo INT >> signals" INT
trap "echo TERM >> signals" TERM
sleep 600 &
echo $$ $!
while :; do sleep 0.05; done`

describe('exec-each', () => {
  it('sends SIGINT, SIGTERM and SIGKILL to a program that goes on without its client, and to its child processes', async t => {
    const cwd = folder(t, { program: STUBBORN })
    chmodSync(join(cwd, 'program'), 0o755)
    const { log, logged } = collectedLog()
    const server = await serve(t, { filters: [`exec-each:${join(cwd, 'program')}`], log })
    const peer = await Peer.open(server.url)
    const [line] = await peer.get(1)
    const pids = String(line).split(' ').map(Number)
    assert.deepEqual(pids.map(isAlive), [true, true])
    peer.ws.terminate()
    await until(() => !pids.some(isAlive), 'the end of both')
    assert.equal(readFileSync(join(cwd, 'signals'), 'utf8'), 'INT\nTERM\n')
    await until(() => logged.some(({ how }) => how === 'was ended by SIGKILL'), 'its end in the log')
  })
})
