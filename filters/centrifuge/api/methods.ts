import { setImmediate as nextTurn } from 'node:timers/promises'
import type { Awaitable, FilterApis, Server, Storage, Target } from 'filtered-websocket'
import { errorOf, type ProtocolError } from '../codes.ts'
import { CommandError, replyTo } from '../command-error.ts'
import { historyOf } from '../commands.ts'
import type { Census } from './census.ts'
import { presenceOf, presenceStatsOf } from './members.ts'
import { badRequest, channelOf, contentOf, isObject, nameOf, notAvailable, type Params } from './params.ts'
import { Publisher } from './publish.ts'

/** A method of the server API. @returns its result as JSON. @throws CommandError, or an error of the core. */
type Method = (params: Params, server: Server) => Awaitable<string>

export interface MethodsHost {
  readonly presence: FilterApis['presence'] | undefined
  readonly storage: Storage
  readonly census: Census
  /** Called with unexpected errors. */
  onError(error: unknown, method: string): void
}

/** Channels of one broadcast, and commands of one batch. */
const MAX_CHANNELS = 10_000
const MAX_COMMANDS = 1000
/** Publications of a broadcast that are under way at a time. */
const AT_ONCE = 256
/** Parallel commands of a batch that are under way at a time. */
const PARALLEL = 16
/** UTF-16 units of the answers to several commands; the commands behind them are not run. */
const MAX_ANSWERS = 16_777_216
/** Close code of `disconnect`: the client does not come back. */
const DISCONNECTED = { code: 3503, reason: 'force disconnect' }

const TOO_MUCH = errorAnswer({ code: 106, message: 'the answers to the commands before are too large' })

/** Centrifugo's server API, for all protocols. */
export class Methods {
  readonly #host: MethodsHost
  readonly #byName: ReadonlyMap<string, Method>

  constructor(host: MethodsHost) {
    const { presence, storage, census } = host
    const publisher = new Publisher(storage.values)
    this.#host = host
    this.#byName = new Map<string, Method>(
      Object.entries({
        publish: (params, server) => publisher.publish(server, channelOf(params.channel), contentOf(params), params),
        broadcast: (params, server) => {
          const content = contentOf(params)
          return this.#broadcast(params, channel => publisher.publish(server, channelOf(channel), content, params))
        },
        presence: params => presenceOf(presence, params),
        presence_stats: params => presenceStatsOf(presence, params),
        history: (params, server) => historyOf(server, channelOf(params.channel), params),
        history_remove: removeHistory,
        unsubscribe,
        disconnect,
        channels: params => census.channels(params),
        info: () => census.info(),
      } satisfies Record<string, Method>),
    )
  }

  has(name: string): boolean {
    return name === 'batch' || this.#byName.has(name)
  }

  /** Runs a method. @returns the answer as JSON; never rejects. */
  call(name: string, params: unknown, server: Server): Promise<string> {
    if (name === 'batch') return this.#answer(name, () => this.#batch(params, server))
    return this.#answer(name, async () => resultAnswer(await this.#run(name, params, server)))
  }

  async #batch(params: unknown, server: Server): Promise<string> {
    const { commands, parallel } = objectOf(params)
    if (!Array.isArray(commands)) throw badRequest('commands is an array')
    if (commands.length > MAX_COMMANDS)
      throw new CommandError({ code: 106, message: `a batch has at most ${MAX_COMMANDS} commands` })
    const run = (command: unknown) => {
      const [[name = '', given] = [], ...more] = isObject(command) ? Object.entries(command) : []
      return this.#answer(name, async () => {
        if (more.length > 0) throw badRequest('a command has one method')
        return `{${JSON.stringify(name)}:${await this.#run(name, given, server)}}`
      })
    }
    return `{"replies":[${(await answersTo(commands, run, parallel === true ? PARALLEL : 1)).join()}]}`
  }

  /** @throws (rejects) CommandError, or an error of the core. */
  async #run(name: string, params: unknown, server: Server): Promise<string> {
    const method = this.#byName.get(name)
    if (method === undefined) throw new CommandError(104)
    return method(objectOf(params ?? {}), server)
  }

  async #broadcast({ channels }: Params, publish: (channel: unknown) => Awaitable<string>): Promise<string> {
    if (!Array.isArray(channels)) throw badRequest('channels is an array')
    if (channels.length > MAX_CHANNELS)
      throw new CommandError({ code: 106, message: `a broadcast has at most ${MAX_CHANNELS} channels` })
    const publishOne = (channel: unknown) => this.#answer('broadcast', async () => resultAnswer(await publish(channel)))
    const responses: string[] = []
    for (let i = 0; i < channels.length; i += AT_ONCE)
      responses.push(...(await Promise.all(channels.slice(i, i + AT_ONCE).map(publishOne))))
    return `{"responses":[${responses.join()}]}`
  }

  async #answer(method: string, work: () => Promise<string>): Promise<string> {
    try {
      return await work()
    } catch (error) {
      const { code, message } = replyTo(error) ?? errorOf(100)
      if (code !== 100) return errorAnswer({ code, message: (error as Error).message })
      this.#host.onError(error, method)
      return errorAnswer({ code, message })
    }
  }
}

function resultAnswer(result: string): string {
  return `{"result":${result}}`
}

/** An answer with an error, as JSON. */
export function errorAnswer({ code, message }: ProtocolError): string {
  return JSON.stringify({ error: { code, message } })
}

async function removeHistory(params: Params, server: Server): Promise<string> {
  const channel = channelOf(params.channel)
  const { top } = await server.read(channel, { from: 'newest', entries: 0, bytes: 0 })
  await server.trim(channel, top)
  return '{}'
}

function unsubscribe(params: Params, server: Server): string {
  server.unsubscribe(targetOf(params), channelOf(params.channel))
  return '{}'
}

function disconnect(params: Params, server: Server): string {
  const { whitelist } = params
  if (Array.isArray(whitelist) && whitelist.length > 0) throw notAvailable('whitelist is not available')
  const { code, reason } = isObject(params.disconnect) ? params.disconnect : DISCONNECTED
  if (!(Number.isInteger(code) && (code as number) >= 3000 && (code as number) <= 4999) || typeof reason !== 'string')
    throw badRequest('disconnect has a code of 3000 to 4999 and a reason')
  server.disconnect(targetOf(params), code as number, reason)
  return '{}'
}

/** The clients of a user, or one of them. */
function targetOf(params: Params): Target {
  const sub = nameOf(params.user, 'user')
  const id = nameOf(params.client, 'client')
  if (nameOf(params.session, 'session') !== undefined) throw notAvailable('session is not available; give client')
  if (id !== undefined) return { id, ...(sub !== undefined && { sub }) }
  if (sub !== undefined) return { sub }
  throw badRequest('user is missing')
}

function objectOf(params: unknown): Params {
  if (isObject(params)) return params
  throw badRequest('the parameters of a method are a JSON object')
}

/** Runs several commands in order, `atOnce` of them together; other work of the server comes between them. */
export async function answersTo<T>(
  commands: readonly T[],
  run: (command: T) => Promise<string>,
  atOnce = 1,
): Promise<readonly string[]> {
  const answers: string[] = []
  let length = 0
  for (let i = 0; i < commands.length; i += atOnce) {
    const some = commands.slice(i, i + atOnce)
    const got = length > MAX_ANSWERS ? some.map(() => TOO_MUCH) : await Promise.all(some.map(run))
    for (const answer of got) length += answer.length
    answers.push(...got)
    await nextTurn()
  }
  return answers
}
