import type { Host, OptionSpecs, Server } from 'filtered-websocket'
import { RateLimitedLog } from 'filtered-websocket/kit'
import { Input } from './stdin/input.ts'

export const describe = 'Handle each line of standard input as a message'

export const options = {
  'stdin-topic': { type: 'string', describe: 'Topic to which broadcasts of the lines go. Default: all clients' },
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
export const setup = ({ stdin, order, limits, log, options: chosen }: Host<typeof options>) => {
  const limited = new RateLimitedLog(log)
  let timer: NodeJS.Timeout | undefined
  return {
    start(server: Server): void {
      const input = new Input(stdin, {
        order,
        topic: chosen['stdin-topic'],
        maxLine: limits['max-payload'],
        onSkip: () => limited.add('warn', { max: limits['max-payload'] }, 'line skipped, longer than --max-payload'),
        onError: err => log.error({ err }, 'standard input failed'),
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
