import type { OptionSpecs, OptionValues } from 'filtered-websocket'
import { FRAMINGS, optionError } from 'filtered-websocket/kit'
import { Printer } from './printer.ts'
import { type CloseError, type Input, stopOf, Target, targetOptions } from './target.ts'
import { TopicListener } from './topic-listener.ts'

export const describe = 'Write each message of a server as a line'

export const usage = `fws-server listen URL [options]

Writes each message of a WebSocket server, or of a topic, as a line to standard output.`

export const options = {
  framing: {
    type: 'string',
    choices: FRAMINGS,
    default: 'lines',
    describe:
      'How messages are separated: one a line, line ends in them become spaces; by NUL bytes (nul); JSON lines with "data" or "binary" (json); 4 bytes with the length before each (length)',
  },
  topic: { type: 'string', describe: 'Topic to subscribe to; the server needs filter centrifuge' },
  after: {
    type: 'string',
    describe: 'Begin behind this position of the topic, {"epoch":"...","offset":7} as json writes it',
  },
  newest: { type: 'number', min: 1, integer: true, describe: 'Begin with this number of past messages of the topic' },
  'position-file': {
    type: 'string',
    normalize: true,
    describe: 'File for the position in the topic: the next listener with this file continues there',
  },
  ...targetOptions,
} as const satisfies OptionSpecs

type Options = OptionValues<typeof options>
/** Close code of a normal end (RFC 6455, section 7.4.1). */
const NORMAL = 1000
/** Options that need `--topic`. */
const OF_TOPICS = ['after', 'newest', 'position-file'] as const

/** Returns the exit code. @throws Error `ERR_COMMAND`: refused, or lost without a reconnect. */
export async function run(input: Input<Options>): Promise<0> {
  const { options: chosen, streams } = input
  const alone = OF_TOPICS.find(name => chosen[name] !== undefined)
  if (chosen.topic === undefined && alone !== undefined) throw optionError(`--${alone} needs --topic`)
  const target = new Target('listen', input)
  const printer = new Printer(target, chosen.framing, streams.stdout)
  const { topic } = chosen
  let listener: TopicListener | undefined
  if (topic === undefined) printer.printFrom(target.connect())
  else listener = await TopicListener.start(target, printer, { ...chosen, topic })
  try {
    await Promise.race([target.failed, printer.gone, stopOf(streams.signal)])
  } catch (error) {
    // The server has ended the connection normally.
    if ((error as CloseError).closeCode !== NORMAL) throw error
  } finally {
    target.leave()
    await printer.finish(listener?.saving)
  }
  printer.check()
  return 0
}
