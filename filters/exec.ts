import type { ChannelEvent, Client, Closed, Drop, Host, OptionSpecs, Payload, Server } from 'filtered-websocket'
import { optionError, RateLimitedLog, visible } from 'filtered-websocket/kit'
import { bodyOf, connectBody, consumerBody, messageBody, openBody } from './exec/bodies.ts'
import { Commands } from './exec/commands.ts'
import { Process } from './exec/process.ts'
import { EVENTS, excerpt, lineOf, readEvents } from './exec/protocol.ts'
import { Down, Questions } from './exec/questions.ts'

export const describe = 'Run a program as a filter: exec:COMMAND, as a guard exec-guard:COMMAND'

export const takesCommand = true

export const stage = 'optional'

export const options = {
  'exec-events': {
    type: 'array',
    describe: `Events that the program gets: ${EVENTS.join(', ')}. Default: those that it names, else message`,
  },
  'exec-timeout': {
    type: 'number',
    min: 0.001,
    max: 2_147_483,
    describe: 'Seconds for each answer. Default: --filter-timeout',
  },
  'exec-down': {
    type: 'string',
    choices: ['fail', 'hold', 'pass'],
    default: 'fail',
    describe: 'While the program is down, messages fail, wait for it (hold) or pass; those of a guard never pass',
  },
  'exec-headers': {
    type: 'array',
    default: [],
    describe: 'Header fields of the handshake that the program gets in connect',
  },
} as const satisfies OptionSpecs

/** Lines of standard error that are logged in a second: a stack trace is one problem. */
const STDERR_LINES = 100
/** A line that the program writes may hold a payload in base64, or escaped as JSON: 6 bytes for one. */
const LINE_FACTOR = 6
const LINE_MARGIN = 4096

/** One process of the program answers the questions of all clients, see docs/reference/exec.md. */
export const setup = ({ command, isGuard, limits, log, options: chosen, timeouts }: Host<typeof options>) => {
  const { words, base } = command!
  const down = chosen['exec-down']
  const timeout = chosen['exec-timeout'] === undefined ? timeouts.handler : chosen['exec-timeout'] * 1000
  if (isGuard && down === 'pass')
    throw optionError('a guard lets no message pass unasked: --exec-down takes fail or hold')
  if (timeouts.handler > 0 && timeout > timeouts.handler)
    throw optionError(
      `--exec-timeout ${timeout / 1000} exceeds --filter-timeout ${timeouts.handler / 1000}; raise that too`,
    )
  const limited = new RateLimitedLog(log)
  /** Clients that the program knows or will know: their open handler has run. */
  const present = new Set<Client>()
  const headerNames = chosen['exec-headers'].map(name => name.toLowerCase())
  let server: Server
  let commands: Commands

  const program = new Process({
    program: { words, base, log: new RateLimitedLog(log, STDERR_LINES) },
    log,
    isGuard,
    maxLine: limits['max-payload'] * LINE_FACTOR + LINE_MARGIN,
    events: eventsIn(chosen['exec-events'], isGuard),
    begun: () => questions.begun(program.events.has('open') ? openLines(present) : []),
    ended: why => questions.ended(why),
    drained() {
      commands.drained()
      questions.sendWaiting()
    },
    line(line, length) {
      if ('do' in line) commands.run(line, length)
      else if (!questions.answer(line)) ignored('unexpected answer', excerpt(line))
    },
    malformed: text => ignored('malformed line', excerpt(text)),
  })
  const questions = new Questions({
    down,
    timeout,
    write: line => program.write(line),
    get unwritten() {
      return program.unwritten
    },
  })

  function ignored(what: string, line: string): void {
    const { drops } = server.counters
    drops[what] = (drops[what] ?? 0) + 1
    limited.add('warn', { line: visible(line), total: drops[what] }, `${what} of the program`, what)
  }

  return {
    async start(running: Server): Promise<void> {
      server = running
      commands = new Commands({
        server,
        write: line => program.write(line),
        get unwritten() {
          return program.unwritten
        },
        pause: () => program.pause(),
        resume: () => program.resume(),
        failed: (name, problem) => limited.add('warn', { do: name, problem }, 'a command of the program failed'),
      })
      await program.start()
    },
    async connect(client: Client) {
      if (!program.events.has('connect')) return
      try {
        return (await questions.ask('connect', client, connectBody(client, headerNames))) as Drop | void
      } catch (error) {
        if (error instanceof Down) return client.refuse(503, 'try again later', { 'Retry-After': '5' })
        throw error
      }
    },
    open(client: Client) {
      present.add(client)
      return program.events.has('open') ? questions.notify('open', openBody(client)) : undefined
    },
    message: (payload: Payload, client: Client) =>
      program.events.has('message') ? questions.ask('message', client, messageBody(client, payload)) : undefined,
    disconnect(client: Client, { code, reason }: Closed) {
      if (!present.delete(client) || !program.events.has('disconnect')) return
      return questions.notify('disconnect', bodyOf({ client: client.id, code, reason }))
    },
    consumer: ({ channel, payload }: ChannelEvent) =>
      program.events.has('consumer') ? questions.ask('consumer', undefined, consumerBody(channel, payload)) : undefined,
    stop: () => program.stop(timeouts.drain),
  }
}

/** The events of clients that were open before the program. */
function* openLines(present: ReadonlySet<Client>): Generator<string> {
  for (const client of [...present]) if (present.has(client)) yield lineOf('open', openBody(client), undefined, true)
}

/** @throws Error `ERR_OPTION`. */
function eventsIn(names: readonly string[] | undefined, isGuard: boolean) {
  try {
    return names && readEvents(names, isGuard)
  } catch (error) {
    throw optionError(`--exec-events: ${(error as Error).message}`)
  }
}
