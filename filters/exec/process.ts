import { setTimeout as sleep } from 'node:timers/promises'
import {
  atExit,
  Lines,
  onLines,
  optionError,
  PieceWriter,
  Program,
  type ProgramOptions,
  visible,
} from 'filtered-websocket/kit'
import type { Logger } from 'pino'
import { excerpt, type Line, lineOf, type ProgramEvent, readEvents, VERSION } from './protocol.ts'

/** Milliseconds in which a program answers `hello`; until a later answer it gets only messages. A guard has to answer. */
const HELLO_TIMEOUT = 1000
const GUARD_HELLO_TIMEOUT = 10_000
/** Milliseconds in which a program ends that has closed its standard input or output. */
const END_AFTER = 1000
/** Milliseconds before a restart: the first, and at most. */
const FIRST_DELAY = 100
const MAX_DELAY = 10_000
/** Milliseconds after which the next restart is a first one again. */
const STABLE_AFTER = 10_000

export interface ProcessHost {
  readonly program: ProgramOptions
  readonly log: Logger
  /** Bytes of a line of the program. */
  readonly maxLine: number
  readonly isGuard: boolean
  /** Events that the program gets. Default: those that it names. */
  readonly events: ReadonlySet<ProgramEvent> | undefined
  /** It has begun, or has named its events. */
  begun(): Promise<void>
  /** It has ended, and all of its lines are handled. */
  ended(why: string): void
  /** It reads on. */
  drained(): void
  line(line: Line, length: number): void
  /** A line that is no JSON object. */
  malformed(text: string): void
}

/** The process of a filter: begun with the server, begun again after each end, stopped with the server. */
export class Process {
  /** Those of the last answer to `hello`: while a guard begins again, its questions are refused, not skipped. */
  events: ReadonlySet<ProgramEvent>
  readonly #host: ProcessHost
  readonly #stopping = new AbortController()
  #program: Program | undefined
  #writer: PieceWriter | undefined
  /** Ends the wait for the answer to `hello`. */
  #onHello: ((problem?: Error) => void) | undefined
  #hasAnswered = false
  #life: Promise<void> = Promise.resolve()
  #release = () => {}

  constructor(host: ProcessHost) {
    this.#host = host
    this.events = host.events ?? new Set(['message'])
  }

  /** @throws (rejects) Error `ERR_OPTION`: the program cannot be started, ends at once, or speaks another version. */
  async start(): Promise<void> {
    // A program that hangs must not outlive a server that exits at once.
    this.#release = atExit(() => this.#program?.kill())
    const program = await this.#begin()
    this.#life = this.#supervise(program)
  }

  /** Asks the program to end; after `graceMs` milliseconds signals end its process group. */
  async stop(graceMs: number): Promise<void> {
    this.#stopping.abort()
    const program = this.#program
    if (program !== undefined && !program.hasEnded) {
      this.write(lineOf('stop', ''))
      // A program that does not read must not delay the signals.
      void this.#writer?.flush()
      this.resume()
      await program.stop(graceMs)
    }
    await this.#life
    this.#release()
  }

  /** Returns a promise if the caller has to wait for the program. */
  write(line: string): Promise<void> | undefined {
    return this.#writer?.write(line)
  }

  /** Characters that the program has not read. */
  get unwritten(): number {
    return this.#writer?.unwritten ?? 0
  }

  /** Stops reading its output. */
  pause(): void {
    this.#program?.stdout.pause()
  }

  resume(): void {
    this.#program?.stdout.resume()
  }

  async #supervise(first: Program): Promise<void> {
    let program: Program | undefined = first
    for (let attempt = 0; program !== undefined; ) {
      const begunAt = Date.now()
      await this.#host.begun()
      const why = `the program ${await program.ended}`
      if (this.#stopping.signal.aborted) return
      this.#host.ended(why)
      if (Date.now() - begunAt > STABLE_AFTER) attempt = 0
      program = await this.#restart(why, () => Math.min(MAX_DELAY, FIRST_DELAY * 2 ** attempt++))
    }
  }

  /** Begins it again, as often as it takes; `undefined`: the server stops. */
  async #restart(reason: string, nextDelay: () => number): Promise<Program | undefined> {
    const { signal } = this.#stopping
    for (let why = reason; ; ) {
      const delay = nextDelay()
      this.#host.log.error(`${why}; it is started again in ${delay / 1000} s`)
      await sleep(delay, undefined, { signal, ref: false }).catch(() => {})
      if (signal.aborted) return undefined
      try {
        return await this.#begin()
      } catch (error) {
        if (signal.aborted) return undefined
        why = (error as Error).message
      }
    }
  }

  async #begin(): Promise<Program> {
    const program = await Program.start(this.#host.program)
    this.#program = program
    this.#writer = new PieceWriter(program.stdin)
    this.#hasAnswered = false
    program.stdin.on('drain', () => this.#host.drained())
    program.stdin.once('close', () => this.#endSoon(program, 'input'))
    program.stdout.once('end', () => this.#endSoon(program, 'output'))
    this.#read(program)
    this.write(lineOf('hello', `"version":${VERSION}`))
    if (this.#stopping.signal.aborted) await program.stop(0)
    else if (this.#host.events === undefined) await this.#greet(program)
    return program
  }

  /** Waits for the answer to `hello`. */
  async #greet(program: Program): Promise<void> {
    const { isGuard } = this.#host
    let timer: NodeJS.Timeout | undefined
    try {
      await new Promise<void>((resolve, reject) => {
        this.#onHello = problem => (problem === undefined ? resolve() : reject(problem))
        if (isGuard) {
          const seconds = GUARD_HELLO_TIMEOUT / 1000
          const late = optionError(`a guard has to answer hello within ${seconds} s, or its place has to name "events"`)
          timer = setTimeout(reject, GUARD_HELLO_TIMEOUT, late)
        } else timer = setTimeout(resolve, HELLO_TIMEOUT)
        void program.ended.then(how => reject(optionError(`the program ${how} at once; try it in a shell`)))
      })
    } catch (error) {
      program.kill()
      throw error
    } finally {
      clearTimeout(timer)
      this.#onHello = undefined
    }
  }

  /** A program that has closed a pipe gets no question, or can answer none. */
  #endSoon(program: Program, what: 'input' | 'output'): void {
    setTimeout(() => {
      if (program.hasEnded || this.#stopping.signal.aborted || this.events.size === 0) return
      this.#host.log.error(`the program has closed its standard ${what}; it is ended`)
      program.kill()
    }, END_AFTER).unref()
  }

  #read(program: Program): void {
    const { maxLine } = this.#host
    const end = () => {
      if (program.stdout.destroyed) return
      this.#host.log.error(`the program wrote a line of more than ${maxLine} bytes; it is ended`)
      program.kill()
      program.stdout.destroy()
    }
    onLines(program.stdout, new Lines(maxLine, end), line => {
      if (line !== '') this.#handle(line)
    })
  }

  #handle(text: string): void {
    let line: Line | undefined
    try {
      // An exception costs much more than this check, and a program can write any number of such lines.
      if (text.startsWith('{')) line = JSON.parse(text)
    } catch {}
    if (line === undefined) this.#host.malformed(text)
    else if ('hello' in line) this.#answered(line)
    else this.#host.line(line, text.length)
  }

  #answered({ hello, events = ['message'] }: Line): void {
    if (this.#host.events !== undefined || this.#hasAnswered) return
    this.#hasAnswered = true
    try {
      if (hello !== VERSION)
        throw new Error(`it speaks version ${excerpt(hello)} of the protocol; the server speaks ${VERSION}`)
      this.events = readEvents(events, this.#host.isGuard)
    } catch (error) {
      const problem = `the program answers hello wrongly: ${visible((error as Error).message)}`
      if (this.#onHello === undefined) this.#host.log.error(problem)
      else this.#onHello(optionError(problem))
      return
    }
    if (this.#onHello === undefined) void this.#host.begun()
    else this.#onHello()
  }
}
