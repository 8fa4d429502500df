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
    describe: 'What the server does at the end of the input',
  },
} as const satisfies OptionSpecs

/** Milliseconds between two looks whether the server listens. */
const POLL = 20

/**
 * Standard input is a client whose messages go through the filters behind this one: `tail -F app.log | fws-server -f stdin
 * broadcast`. The operator controls it, so guards and permits do not apply.
 */
export const setup = ({ stdin, order, limits, log, every, options: chosen }: Host<typeof options>) => {
  const limited = new RateLimitedLog(log)
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
      let hasBegun = false
      every(POLL, () => {
        if (hasBegun || server.checks.listening !== true) return
        hasBegun = true
        input.begin(server)
      })
    },
  }
}
