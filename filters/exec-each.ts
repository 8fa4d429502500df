import { type Client, DROP, type Host, type OptionSpecs, type Payload } from 'filtered-websocket'
import { atExit, optionError, Program, RateLimitedLog } from 'filtered-websocket/kit'
import { type Environment, environmentOf } from './exec-each/environment.ts'
import { Session, type SessionHost } from './exec-each/session.ts'

export const describe = 'Start a program for each client: messages in, lines of output out'

export const takesCommand = true

export const options = {
  'exec-each-binary': {
    type: 'boolean',
    default: false,
    describe: 'Pass bytes in place of lines: a message is written unchanged, and each read of output is a message',
  },
  'exec-each-max': {
    type: 'number',
    default: 100,
    min: 1,
    integer: true,
    describe: 'Processes at a time; further clients are refused',
  },
  'exec-each-env': {
    type: 'array',
    default: ['PATH', 'LD_LIBRARY_PATH', 'DYLD_LIBRARY_PATH'],
    describe: 'Names of environment variables of the server that the programs get too',
  },
} as const satisfies OptionSpecs

/** Milliseconds that programs get at a stop, before SIGKILL. */
const STOP_TIMEOUT = 800
/** WebSocket close codes. */
const FILTER_FAILED = 1011
const TRY_AGAIN_LATER = 1013

/** `fws-server -f 'exec-each:./count.sh'`: a process for each client, as in websocketd. */
export const setup = ({ command, options: chosen, limits, log }: Host<typeof options>) => {
  const { 'exec-each-max': max, 'exec-each-binary': isBinary, 'exec-each-env': inherits } = chosen
  const own = inherits.find(name => /^FWS_/i.test(name))
  if (own !== undefined) throw optionError(`--exec-each-env takes no variable of the server itself, received "${own}"`)
  const limited = new RateLimitedLog(log)
  const host: SessionHost = {
    program: { ...command!, inherits, log: limited },
    isBinary,
    maxLine: limits['max-payload'],
    onSkip: () =>
      limited.add('warn', { max: limits['max-payload'] }, 'line of output skipped, longer than --max-payload', 'line'),
    onEnd: ({ id }, how) => log.debug({ client: id, how }, 'program has ended'),
  }
  const environments = new WeakMap<Client, Environment>()
  const sessions = new Map<Client, Session>()
  /** With those of clients that have left. */
  const running = new Set<Session>()
  const killAll = () => {
    for (const session of running) session.kill()
  }
  let release = () => {}

  function begin(client: Client): void {
    if (running.size >= max) {
      client.disconnect(TRY_AGAIN_LATER, 'too many programs')
      return
    }
    const environment = environments.get(client) ?? environmentOf(client)
    environments.delete(client)
    const session = new Session(client, host, {
      ...environment,
      REMOTE_USER: client.identity?.replaceAll('\0', ' ') ?? '',
    })
    sessions.set(client, session)
    running.add(session)
    void session.ended.then(() => running.delete(session))
    session.started.catch(err => {
      limited.add('error', { err }, 'program has not started', 'start')
      client.disconnect(FILTER_FAILED, 'a filter failed')
    })
  }

  return {
    start() {
      release = atExit(killAll)
      Program.check(command!)
    },
    connect(client: Client) {
      if (running.size >= max) return client.refuse(503, 'too many programs')
      environments.set(client, environmentOf(client))
      return undefined
    },
    // Not for a client that a guard has not admitted.
    open: (client: Client) => client.onAdmitted(() => begin(client)),
    message(payload: Payload, client: Client) {
      if (!isBinary && typeof payload !== 'string') return client.drop('binary message')
      return sessions.get(client)?.write(payload) ?? DROP
    },
    disconnect(client: Client) {
      void sessions.get(client)?.stop()
      sessions.delete(client)
    },
    async stop() {
      const timer = setTimeout(killAll, STOP_TIMEOUT)
      await Promise.all([...running].map(session => session.stop()))
      clearTimeout(timer)
      release()
    },
  }
}
