import { setTimeout as sleep } from 'node:timers/promises'
import type { OptionSpecs, OptionValues } from 'filtered-websocket'
import { commandError, FRAMINGS, optionError } from 'filtered-websocket/kit'
import type { Delivery } from './delivery.ts'
import { PlainDelivery } from './plain-delivery.ts'
import { Printer } from './printer.ts'
import { Source } from './source.ts'
import { type Input, stopOf, Target, targetOptions } from './target.ts'
import { TopicDelivery } from './topic-delivery.ts'

export const describe = 'Send each line of standard input as a message'

export const usage = `fws-server send URL [options]

Sends each line of standard input as a message, to any WebSocket server, or to a topic.
Exits with 0 when the server has acknowledged all messages.`

export const options = {
  framing: {
    type: 'string',
    choices: FRAMINGS,
    default: 'lines',
    describe:
      'How messages are separated on standard input and output: one a line; by NUL bytes (nul); JSON lines with "data" or "binary" (json); 4 bytes with the length before each (length)',
  },
  topic: { type: 'string', describe: 'Topic to publish to; the server needs filter centrifuge' },
  listen: { type: 'boolean', default: false, describe: 'Write each message of the server to standard output' },
  ...targetOptions,
} as const satisfies OptionSpecs

type SendInput = Input<OptionValues<typeof options>>

/** Milliseconds to finish after SIGINT or SIGTERM. */
const GRACE = 5000

/** Returns the exit code. @throws Error `ERR_COMMAND`: messages are refused or lost. */
export async function run(input: SendInput): Promise<0> {
  const { listen, topic } = input.options
  if (listen && topic !== undefined)
    throw optionError('--listen and --topic exclude each other; run listen --topic too')
  const target = new Target('send', input)
  if (topic !== undefined) return send(input, target, new TopicDelivery(target, topic))
  const printer = listen ? new Printer(target, input.options.framing, input.streams.stdout) : undefined
  const connection = target.connect()
  printer?.printFrom(connection)
  return send(input, target, new PlainDelivery(target, connection), printer)
}

async function send(input: SendInput, target: Target, delivery: Delivery, printer?: Printer): Promise<0> {
  const { options, streams } = input
  const source = new Source(streams.stdin, { ...options, isText: options.topic !== undefined }, why =>
    target.report(`skipped a message: ${why}`),
  )
  const stopped = stopOf(streams.signal)
  if (streams.stdin?.isTTY) target.report('each line is a message; Ctrl-D ends')
  const work = async () => {
    await Promise.race([source.readTo(delivery), stopped])
    source.stop()
    if (!streams.signal?.aborted || delivery.pending > 0) await delivery.finish()
  }
  try {
    await Promise.race([work(), target.failed, printer?.gone ?? target.failed, stopped.then(() => sleep(GRACE))])
  } finally {
    source.stop()
    target.leave()
    await printer?.finish()
  }
  printer?.check()
  if (delivery.pending > 0 && !printer?.isGone)
    throw commandError(`messages that ${target.name} has not acknowledged: ${delivery.pending}`)
  if (source.skipped > 0) throw commandError(`messages that were skipped: ${source.skipped}`)
  return 0
}
