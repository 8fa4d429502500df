import assert from 'node:assert/strict'
import { spawn, spawnSync } from 'node:child_process'
import { once } from 'node:events'
import { text } from 'node:stream/consumers'
import { describe, it } from 'node:test'
import { built, launch } from '../../support/cli.ts'

/**
 * Runs a command in a terminal of 80 columns and 10 rows until it has drawn twice, sends it keys or a signal, and prints its output, then
 * one line with: whether the modes of the terminal were other ones meanwhile and are back, and the exit code.
 */
const TERMINAL = `
import fcntl, json, os, pty, signal, struct, subprocess, sys, termios
ours, its = pty.openpty()
fcntl.ioctl(its, termios.TIOCSWINSZ, struct.pack('HHHH', 10, 80, 0, 0))
before = termios.tcgetattr(its)
child = subprocess.Popen(sys.argv[2:], stdin=its, stdout=its, stderr=its, start_new_session=True)
signal.signal(signal.SIGALRM, lambda *_: child.kill())
signal.alarm(30)
output = b''
while output.count(b'received') < 2 and child.poll() is None:
    output += os.read(ours, 65536)
during = termios.tcgetattr(its)
if sys.argv[1] == 'SIGTERM': child.terminate()
else: os.write(ours, sys.argv[1].encode())
code = child.wait()
after = termios.tcgetattr(its)
os.set_blocking(ours, False)
try:
    while True: output += os.read(ours, 65536)
except BlockingIOError: pass
sys.stdout.write(json.dumps([output.decode(), during != before, after == before, code]))
`

const hasPython = spawnSync('python3', ['-c', 'import pty']).status === 0

describe('fws-server top in a terminal', { skip: hasPython ? false : 'needs python3, for its pty' }, () => {
  for (const [name, keys] of [
    ['q', 'q'],
    ['Ctrl-C', '\x03'],
    ['SIGTERM', 'SIGTERM'],
  ] as const) {
    it(`restores it after ${name}`, async t => {
      const { logged } = await launch(t, ['-p', '0', '-f', 'health', 'broadcast', '--health-port', '0']).then(
        server => ({
          logged: server.logged(),
        }),
      )
      const url = String(logged.find(({ msg }) => msg === 'health answers')!.url)
      const argv = [process.execPath, ...built, 'top', url, '--interval', '0.2']
      const child = spawn('python3', ['-c', TERMINAL, keys, ...argv], { stdio: ['ignore', 'pipe', 'inherit'] })
      const [output] = await Promise.all([text(child.stdout), once(child, 'exit')])
      const [shown, wasRaw, isRestored, code] = JSON.parse(output)
      assert.deepEqual([wasRaw, isRestored, code], [true, true, 0])
      assert.ok(shown.startsWith('\x1b[?1049h\x1b[?25l\x1b[?7l'), JSON.stringify(shown.slice(0, 50)))
      assert.ok(shown.endsWith('\x1b[?7h\x1b[?25h\x1b[?1049l'), JSON.stringify(shown.slice(-50)))
    })
  }
})
