import { createReadStream } from 'node:fs'
import { validateHeaderValue } from 'node:http'
import { FwsError } from '../contract/errors.ts'
import type { OptionSpecs, OptionValues } from '../contract/option.ts'
import { PieceWriter } from '../kit/piece-writer.ts'
import { readRecorded } from '../kit/recorded-event.ts'
import { visible } from '../kit/visible.ts'
import type { CommandInput, ExitCode } from '../lifecycle/command.ts'
import { feed } from './feed.ts'
import { Replayer } from './replayer.ts'

export const describe = 'Play the clients of a recording against a server'

export const usage = `fws-server replay FILE --to URL [options]

Plays the clients of a recording against a server, with their times, and prints what each gets. FILE - is standard input.

  fws-server replay recording.jsonl --to ws://127.0.0.1:9000 --speed 10`

export const options = {
  to: { type: 'string', demandOption: true, describe: 'Server, such as ws://127.0.0.1:9000' },
  speed: {
    type: 'number',
    default: 1,
    min: 0,
    describe: 'Factor of the speed, such as 10 for a tenth of the time; 0 sends without waiting',
  },
  token: {
    type: 'string',
    secret: true,
    describe:
      'Token of all clients, in Authorization and where one was redacted. Rather set FWS_TOKEN: other users of the machine see command lines',
  },
} as const satisfies OptionSpecs

/** Bytes of a line: `--max-payload` of the recorded server is not known. */
const MAX_LINE = 67_108_864

/** Exit 1: a line was bad, a connection failed, or a client was refused that had been accepted. */
export async function run({ options: given, words, streams }: CommandInput): Promise<ExitCode> {
  const { to, speed, token } = given as OptionValues<typeof options>
  const { stdout, stderr, signal } = streams
  const [path, ...more] = words
  if (path === undefined || more.length > 0)
    throw new FwsError(
      'ERR_OPTION',
      `replay takes one recording, received ${words.length} words: fws-server replay FILE --to URL`,
    )
  checkToken(token)
  const writer = new PieceWriter(stdout)
  const stop = new AbortController()
  const end = () => stop.abort()
  signal?.addEventListener('abort', end, { once: true })
  void writer.gone.then(end)
  let room: Promise<void> | undefined
  let bad = 0
  const replayer = new Replayer({
    to: targetOf(to),
    speed,
    token,
    signal: stop.signal,
    emit: line => {
      const wait = writer.write(stdout.isTTY ? visible(line) : line)
      if (wait !== undefined && room === undefined) room = pauseUntil(wait)
    },
    report: problem => void stderr.write(`fws-server: ${visible(problem)}\n`),
  })
  const pauseUntil = async (wait: Promise<void>) => {
    replayer.pause()
    await wait
    room = undefined
    replayer.resume()
  }
  try {
    bad = await feed(path === '-' ? streams.stdin : createReadStream(path), {
      play: async line => {
        const event = line.trim() === '' ? undefined : readRecorded(line)
        if (event !== undefined) await replayer.play(event)
        await room
      },
      maxLine: MAX_LINE,
      tooLong: `it is longer than ${MAX_LINE} bytes`,
      stderr,
      output: writer,
      signal: stop.signal,
    })
  } finally {
    await replayer.end()
  }
  await writer.flush()
  if (writer.failure !== undefined) throw writer.failure
  if (writer.isGone) return 0
  stderr.write(`fws-server: ${replayer.summary}\n`)
  return bad > 0 || replayer.failures > 0 ? 1 : 0
}

/** @throws FwsError `ERR_OPTION`. */
function checkToken(token = ''): void {
  try {
    validateHeaderValue('authorization', token)
  } catch {
    throw new FwsError('ERR_OPTION', '--token takes characters that a header can have, received others')
  }
}

/** @throws FwsError `ERR_OPTION`. */
function targetOf(text: string): URL {
  const url = URL.canParse(text) ? new URL(text) : undefined
  if (url?.protocol === 'ws:' || url?.protocol === 'wss:') return url
  // The URL may have a password.
  throw new FwsError('ERR_OPTION', '--to takes a URL such as ws://127.0.0.1:9000, received another string')
}
