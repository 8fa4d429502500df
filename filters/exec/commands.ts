import type { Awaitable, Client, Server } from 'filtered-websocket'
import { isPromise, payloadIn, visible } from 'filtered-websocket/kit'
import { excerpt, type Line } from './protocol.ts'

/** Characters of commands that are being carried out and of their unread results, from which on no further line of the program is read. */
const MAX_PENDING = 1_048_576

export interface CommandsHost {
  readonly server: Server
  write(line: string): void
  /** Characters that the program has not read. */
  readonly unwritten: number
  /** Stops reading lines of the program, and reads on. */
  pause(): void
  resume(): void
  /** A command without `ref` has failed. */
  failed(name: string, problem: string): void
}

/** Where a command acts: as the server, or under the permits of a client. */
interface Acting {
  readonly server: Server
  /** A client of this node. @throws Error: there is none with this id. */
  client(name?: string): Client
}

type Run = (command: Line, acting: Acting) => Awaitable<object | void>

const COMMANDS: Readonly<Record<string, Run>> = {
  send: (command, { client }) => client().send(payloadOf(command)),
  broadcast: (command, { server }) => {
    const topic = textIn(command, 'topic', true)
    const except = server.clients.get(textIn(command, 'except', true) ?? '')
    server.broadcast(payloadOf(command), { ...(topic !== undefined && { topic }), ...(except && { except }) })
  },
  join: (command, { client }) => client().join(textIn(command, 'topic')),
  leave: (command, { client }) => client().leave(textIn(command, 'topic')),
  disconnect: (command, { server }) => {
    const { code = 1000 } = command
    if (typeof code !== 'number') throw new Error(`"code" must be a number, received ${excerpt(code)}`)
    server.disconnect({ id: textIn(command, 'client') }, code, textIn(command, 'reason', true))
  },
  append: async (command, { server }) => {
    const key = textIn(command, 'key', true)
    const payload = payloadOf(command)
    const outcome = await server.append(textIn(command, 'topic'), payload, key === undefined ? {} : { key })
    if ('refused' in outcome) throw new Error(`refused: ${outcome.refused}`)
    return { position: outcome.position }
  },
}

/** Carries out the commands of a program, in the order of its lines. */
export class Commands {
  readonly #host: CommandsHost
  #pending = 0
  #unread = 0
  #isPaused = false

  constructor(host: CommandsHost) {
    this.#host = host
  }

  /** @param length - characters of its line. */
  run(command: Line, length: number): void {
    let done: Awaitable<object | void>
    try {
      done = this.#begin(command)
    } catch (error) {
      this.#failed(command, error)
      return
    }
    if (isPromise(done)) void this.#finish(command, done, length)
    else this.#report(command, 'done')
  }

  /** The program has read all results. */
  drained(): void {
    this.#unread = 0
    this.#flow()
  }

  #begin(command: Line): Awaitable<object | void> {
    const { server } = this.#host
    const find = (name: string) => {
      const id = textIn(command, name)
      const client = server.clients.get(id)
      if (client === undefined) throw new Error(`no client ${excerpt(id)} is open on this node`)
      return client
    }
    const run = Object.hasOwn(COMMANDS, String(command.do)) ? COMMANDS[String(command.do)]! : undefined
    if (run === undefined)
      throw new Error(`"do" is one of ${Object.keys(COMMANDS).join(', ')}, received ${excerpt(command.do)}`)
    return run(command, {
      server: command.as === undefined ? server : find('as').server,
      client: (name = 'client') => find(name),
    })
  }

  async #finish(command: Line, work: PromiseLike<object | void>, length: number): Promise<void> {
    this.#pending += length
    this.#flow()
    try {
      this.#report(command, 'done', (await work) ?? {})
    } catch (error) {
      this.#failed(command, error)
    }
    this.#pending -= length
    this.#flow()
  }

  #failed(command: Line, error: unknown): void {
    const problem = visible((error as Error).message)
    if (command.ref === undefined) this.#host.failed(visible(excerpt(command.do)), problem)
    this.#report(command, 'failed', { error: problem })
  }

  #report({ ref }: Line, event: 'done' | 'failed', more: object = {}): void {
    if (ref === undefined) return
    const line = `${JSON.stringify({ event, ref, ...more })}\n`
    this.#unread = Math.min(this.#unread, this.#host.unwritten) + line.length
    this.#host.write(line)
    this.#flow()
  }

  #flow(): void {
    const total = this.#pending + this.#unread
    if (this.#isPaused ? total > MAX_PENDING / 2 : total <= MAX_PENDING) return
    this.#isPaused = !this.#isPaused
    if (this.#isPaused) this.#host.pause()
    else this.#host.resume()
  }
}

function payloadOf(command: Line) {
  const payload = payloadIn(command)
  if (payload === undefined) throw new Error('it needs "data" or "binary"')
  return payload
}

/** @throws Error: it is not a string, or missing. */
function textIn(command: Line, name: string): string
function textIn(command: Line, name: string, isOptional: true): string | undefined
function textIn(command: Line, name: string, isOptional = false): string | undefined {
  const value = command[name]
  if (typeof value === 'string' || (isOptional && value === undefined)) return value as string | undefined
  throw new Error(`"${name}" must be a string, received ${excerpt(value)}`)
}
