import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { describe, it } from 'node:test'
import { built } from '../support/cli.ts'
import { Peer, until } from '../support/peer.ts'

/** Runs a command in a terminal that is read until the command listens, and then blocked, as with Ctrl-S. */
const STALLED_TERMINAL = `
import os, pty, re, signal, subprocess, sys
ours, its = pty.openpty()
child = subprocess.Popen(sys.argv[1:], stdin=its, stdout=its, stderr=its)
os.close(its)
signal.signal(signal.SIGTERM, lambda *_: child.send_signal(signal.SIGTERM))
signal.signal(signal.SIGHUP, lambda *_: child.kill())
text = b''
while not re.search(rb'listening on .*ws://[0-9.:]+[^0-9.:]', text):
    text += os.read(ours, 4096)
os.write(1, text)
sys.exit(child.wait())
`

const hasPython = spawnSync('python3', ['-c', 'import pty']).status === 0

describe('a terminal that is stopped with Ctrl-S', { skip: hasPython ? false : 'needs python3, for its pty' }, () => {
  it('blocks neither the server nor its shutdown', async t => {
    const argv = [process.execPath, ...built, '-p', '0', '-f', 'log', 'stdout-messages', 'echo']
    const child = spawn('python3', ['-c', STALLED_TERMINAL, ...argv], { stdio: ['ignore', 'pipe', 'inherit'] })
    t.after(() => void child.kill('SIGHUP'))
    let text = ''
    child.stdout.on('data', chunk => {
      text += chunk
    })
    await until(() => text.includes('listening on'), 'a server')
    const peer = await Peer.open(/ws:\/\/[\d.:]+/.exec(text)![0])
    for (let i = 0; i < 60; i++) peer.send('x'.repeat(50_000))
    await peer.get(60)
    child.kill('SIGTERM')
    const [code] = await once(child, 'exit', { signal: AbortSignal.timeout(60_000) })
    assert.equal(code, 0)
  })
})
