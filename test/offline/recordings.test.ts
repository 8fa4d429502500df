import assert from 'node:assert/strict'
import { readFileSync } from 'node:fs'
import { join } from 'node:path'
import { Readable } from 'node:stream'
import { describe, it } from 'node:test'
import { inside, root } from '../support/cli.ts'

const FOLDER = join(root, 'test/offline/recordings')
/** Recorded by filter `record` in tests of examples/chat: rooms, names, refused messages, a message of the operator, people in a room. */
const recording = readFileSync(join(FOLDER, 'chat.jsonl'), 'utf8')

/** Plays the recording on the chains of the example. */
async function chat(input: string, ...ignored: readonly string[]) {
  const argv = [
    '-c',
    'examples/chat/config.json',
    '--expect',
    join(FOLDER, 'chat.expected.jsonl'),
    '--log-level',
    'warn',
  ]
  const stdin = Readable.from([Buffer.from(input)])
  return inside(['run', ...argv, ...ignored.flatMap(name => ['--ignore', name])], root, {}, false, stdin)
}

describe('a recording of examples/chat', () => {
  it('gives the expected output', async () => {
    for (let time = 0; time < 3; time++)
      assert.deepEqual(await chat(recording, 'at', 'epoch', 'since'), { code: 0, stdout: '', stderr: '' })
  })

  it('gives another output if a client has said something else, or a time counts', async () => {
    const other = await chat(recording.replaceAll(' hello ', ' hallo '), 'at', 'epoch', 'since')
    assert.equal(other.code, 1)
    assert.match(other.stderr, /^fws-server: line 5 of the output differs from .*\n- .*hello.*\n\+ .*hallo.*\n$/)
    const times = await chat(recording, 'epoch', 'since')
    assert.equal(times.code, 1)
    assert.match(times.stderr, /^fws-server: line 5 of the output differs/)
  })

  it('that is cut gives the output up to there, and one sentence', async () => {
    const { code, stderr } = await chat(recording.slice(0, 1000), 'at', 'epoch', 'since')
    assert.equal(code, 1)
    assert.match(
      stderr,
      /^fws-server: line 6: a line is a JSON object, received \{"event":"request".*\nfws-server: the output has \d+ lines?, /,
    )
  })
})
