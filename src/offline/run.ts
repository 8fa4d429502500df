import { Writable } from 'node:stream'
import { FwsError } from '../contract/errors.ts'
import type { OptionSpecs, OptionValues } from '../contract/option.ts'
import { payloadField } from '../kit/json-payload.ts'
import { PieceWriter } from '../kit/piece-writer.ts'
import { type RecordedEvent, readRecorded } from '../kit/recorded-event.ts'
import { traceFields } from '../kit/trace-fields.ts'
import { visible } from '../kit/visible.ts'
import type { CommandInput, ExitCode } from '../lifecycle/command.ts'
import { createLogger } from '../lifecycle/log.ts'
import type { Plan } from '../lifecycle/plan.ts'
import { loggingOf } from '../lifecycle/server.ts'
import { Expectation } from './expectation.ts'
import { feed } from './feed.ts'
import { Headless } from './headless.ts'
import { Player } from './player.ts'

export const describe = 'Run the chains without a socket, on events as lines'

export const usage = `fws-server run -f FILTER... [options] < EVENTS

Runs the chains without a socket: reads events, one JSON object a line, and prints what each client gets.

  echo '{"client":"ann","data":"hello"}' | fws-server run -f echo`

export const options = {
  input: {
    type: 'string',
    choices: ['json', 'lines'],
    default: 'json',
    describe: 'Input: events as JSON, such as a recording, or lines that are messages of the client "-"',
  },
  trace: { type: 'boolean', default: false, describe: 'Print the verdict of each handler too' },
  expect: {
    type: 'string',
    normalize: true,
    describe: 'Compare the output with this file instead of printing it; exit 1 if it differs',
  },
  ignore: {
    type: 'array',
    default: [],
    describe: 'Fields that may differ from --expect, at any depth, also in payloads that are JSON',
  },
} as const satisfies OptionSpecs

export const runsChains = true

/** Characters of JSON for one character of a payload, `\\u0000`, and characters for the other fields of an event. */
const JSON_FACTOR = 6
const JSON_FIELDS = 65_536
/** The client of `--input lines`. */
const CLIENT = '-'

/** Exit 1: a filter has failed, a line was bad, or the output differs. The input goes on after a bad line. */
export async function run({ options: given, plan, env, streams }: CommandInput): Promise<ExitCode> {
  const chosen = given as OptionValues<typeof options>
  const { stdin, stdout, stderr, signal } = streams
  refuseListening(plan!)
  const expectation = expectationOf(chosen)
  const writer = new PieceWriter(stdout)
  let room: Promise<void> | undefined
  const emit = (line: string) => {
    if (expectation !== undefined) expectation.add(line)
    else room = writer.write(stdout.isTTY ? visible(line) : line) ?? room
  }
  const log = await createLogger(loggingOf(plan!), stderr, !env.NO_COLOR && env.TERM !== 'dumb')
  for (const warning of plan!.warnings) log.warn(warning)
  let player: Player | undefined
  // A filter may write while it starts.
  const stdoutOfFilters = filterOutput(line => (player === undefined ? emit(line) : player.print(line)))
  const headless = await Headless.start(plan!, { log, stdout: stdoutOfFilters }, signal)
  const playing = new Player(headless, emit)
  player = playing
  if (chosen.trace)
    headless.hub.observe(call => playing.print(`${JSON.stringify(traceFields(call, payloadField))}\n`, call.client))
  const maxPayload = headless.assembly.options['max-payload']
  const isJson = chosen.input === 'json'
  let bad = 0
  const read = isJson ? eventIn : (payload: string): RecordedEvent => ({ event: 'message', client: CLIENT, payload })
  const play = (line: string): Promise<void> | undefined => {
    const event = read(line)
    const played = event === undefined ? undefined : playing.play(event)
    return played === undefined && room === undefined ? undefined : finish(played)
  }
  const finish = async (played: Promise<void> | undefined) => {
    await played
    await room
    room = undefined
  }
  try {
    bad = await feed(stdin, {
      play,
      maxLine: isJson ? JSON_FACTOR * maxPayload + JSON_FIELDS : maxPayload,
      tooLong: `it is longer than --max-payload, ${maxPayload} bytes, permits`,
      stderr,
      output: writer,
      signal,
    })
    await playing.end()
  } finally {
    await headless.stop()
  }
  await writer.flush()
  expectation?.end()
  if (writer.failure !== undefined) throw writer.failure
  if (writer.isGone) return 0
  if (playing.ignored > 0)
    log.warn({ lines: playing.ignored }, 'messages of clients that the server had closed or refused are ignored')
  if (expectation?.difference !== undefined) stderr.write(`fws-server: ${visible(expectation.difference)}\n`)
  return headless.hub.counters.errors > 0 || bad > 0 || expectation?.difference !== undefined ? 1 : 0
}

/** @throws FwsError `ERR_OPTION`: a filter opens a port, or waits for a listener. */
function refuseListening(plan: Plan): void {
  for (const filter of plan.filters) {
    const { listens } = filter.module
    if (listens === undefined) continue
    const by = listens === true ? '' : ` with --${listens}`
    const isOn = listens === true || plan.settingsOf(filter).get(listens)?.value
    if (isOn !== undefined && isOn !== false)
      throw new FwsError(
        'ERR_OPTION',
        `-f ${filter.asked}${by} needs a server that listens, and run has none; leave it out`,
      )
  }
}

function expectationOf({ expect, ignore }: OptionValues<typeof options>): Expectation | undefined {
  if (expect !== undefined) return new Expectation(expect, ignore)
  if (ignore.length > 0)
    throw new FwsError('ERR_OPTION', '--ignore is given without --expect; it names fields that may differ')
  return undefined
}

/** Standard output of the filters: `{"stdout":"..."}`. */
function filterOutput(emit: (line: string) => void): Writable {
  return new Writable({
    decodeStrings: false,
    write: (chunk: string | Buffer, _, done) => {
      const text = chunk.toString()
      if (text !== '') emit(`${JSON.stringify({ stdout: text })}\n`)
      done()
    },
  })
}

function eventIn(line: string): RecordedEvent | undefined {
  return line.trim() === '' ? undefined : readRecorded(line)
}
