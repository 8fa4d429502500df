import type { Client, Host, Message, OptionSpecs, Payload, Server, SetUp } from 'filtered-websocket'
import {
  encoderOf,
  FRAMINGS,
  optionError,
  PieceWriter,
  PositionFile,
  RateLimitedLog,
  SerialQueue,
} from 'filtered-websocket/kit'
import { TopicOutput } from './stdout/topic-output.ts'

export const describe = 'Write each message, or a kept topic, to standard output without losses'

export const options = {
  'stdout-framing': {
    type: 'string',
    choices: FRAMINGS,
    default: 'lines',
    describe:
      'How messages are separated: one a line, line ends in them become spaces; by NUL bytes (nul); JSON lines with "client", "data" or "binary", "at" (json); 4 bytes with the length before each (length)',
  },
  'stdout-topic': {
    type: 'string',
    describe: 'Kept topic whose messages are written, those of all nodes. Default: the messages that reach this filter',
  },
  'stdout-position': {
    type: 'string',
    normalize: true,
    describe:
      'File with the position behind which messages of the topic are written; if it does not exist, the oldest ones. Default: messages from now on',
  },
  'stdout-commit': {
    type: 'string',
    choices: ['server', 'reader'],
    default: 'server',
    describe:
      'Writer of --stdout-position: the server, when the system has accepted the bytes, or the reader, when it has handled them',
  },
} as const satisfies OptionSpecs

/** `fws-server -f broadcast stdout | reader`: standard output belongs to this filter, and a slow reader makes the clients wait. */
export const setup = ({ stdoutStream, log, options: chosen, timeouts }: Host<typeof options>): SetUp => {
  const { 'stdout-framing': framing, 'stdout-topic': topic, 'stdout-position': path } = chosen
  const isTerminal = stdoutStream.isTTY === true
  if (framing === 'length' && isTerminal)
    throw optionError('--stdout-framing length writes bytes; standard output is a terminal')
  if (path !== undefined && topic === undefined) throw optionError('--stdout-position needs --stdout-topic')
  const encoder = encoderOf(framing, isTerminal)
  const writer = new PieceWriter(stdoutStream)
  const stopWith = (server: Server) =>
    void writer.gone.then(() => {
      if (writer.failure === undefined) server.stop('the reader of standard output is gone')
      else server.stop('standard output has failed', writer.failure)
    })
  if (topic !== undefined) {
    const limited = new RateLimitedLog(log)
    let output: TopicOutput | undefined
    let written: Promise<void> | undefined
    return {
      async start(server) {
        if (!server.keeps(topic))
          throw optionError(`--stdout-topic takes a kept topic, received "${topic}"; see --streams-rules`)
        output = await TopicOutput.open(server, {
          topic,
          writer,
          encoder,
          file: path === undefined ? undefined : new PositionFile('--stdout-position', path),
          commits: chosen['stdout-commit'] === 'server',
          onLost: (reason, from, to) => log.error({ topic, reason, from, to }, 'messages for standard output are lost'),
          onRetry: err => limited.add('warn', { topic, err }, 'standard output waits, and tries again every second'),
        })
        written = output.run()
        stopWith(server)
      },
      stop() {
        output?.stop(timeouts.drain)
        return written
      },
    }
  }
  const queue = new SerialQueue()
  /** Clients with a message that waits. */
  const waiting = new WeakSet<Client>()
  return {
    start: stopWith,
    message(payload: Payload, client: Client, { at }: Message) {
      // After the deadline of its last message.
      if (waiting.has(client)) throw new Error('standard output is not read')
      const room = queue.run(() => writer.write(encoder.encode({ client: client.id, payload, at })))
      if (room === undefined) return undefined
      waiting.add(client)
      return room.then(() => void waiting.delete(client))
    },
    stop: () => writer.flush(),
  }
}
