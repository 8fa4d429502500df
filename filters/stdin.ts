import type { Host, OptionSpecs, Server } from 'filtered-websocket'
import { createFraming, FRAMINGS, RateLimitedLog } from 'filtered-websocket/kit'
import { Input } from './stdin/input.ts'

export const describe = 'Handle each line of standard input as a message'

export const listens = true

export const options = {
  'stdin-framing': {
    type: 'string',
    choices: FRAMINGS,
    default: 'lines',
    describe:
      'Form of a message: a line; the text up to a NUL byte (nul); a line of JSON with "data" or "binary" and "topic" (json); 4 bytes with its length, then that many bytes (length)',
  },
  'stdin-topic': { type: 'string', describe: 'Topic to which broadcasts of the messages go. Default: all clients' },
  'stdin-end': {
    type: 'string',
    choices: ['stay', 'stop'],
    default: 'stay',
    describe: 'At the end of the input, keep the server running (stay) or stop it (stop)',
  },
} as const satisfies OptionSpecs

/** Milliseconds between two checks whether the server listens. */
const POLL = 20

/**
 * Standard input is a client whose messages go through the filters behind this one: `tail -F app.log | fws-server -f stdin
 * broadcast`. The operator controls it, so guards and permits do not apply.
 */
export const setup = ({ stdin, order, limits: { 'max-payload': max }, log, options: chosen }: Host<typeof options>) => {
  const limited = new RateLimitedLog(log)
  let timer: NodeJS.Timeout | undefined
  return {
    start(server: Server): void {
      const input = new Input(stdin, {
        order,
        topic: chosen['stdin-topic'],
        framing: createFraming(chosen['stdin-framing'], max, why =>
          limited.add('warn', { why, max }, 'message skipped'),
        ),
        onError: err => log.error({ err }, 'standard input failed'),
        onRetry: err => limited.add('warn', { err }, 'a message is not stored yet, standard input waits', 'retry'),
        onEnd: () => {
          if (chosen['stdin-end'] === 'stop') server.stop('standard input has ended')
          else log.info('standard input has ended')
        },
      })
      // Lines that are read before the server listens would reach no client.
      timer = setInterval(() => {
        if (server.checks.listening !== true) return
        clearInterval(timer)
        try {
          input.begin(server)
        } catch (err) {
          log.error({ err }, 'standard input is not read')
        }
      }, POLL)
    },
    stop: () => clearInterval(timer),
  }
}
