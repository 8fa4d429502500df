import { type Client, DROP, type Drop, type Payload } from 'filtered-websocket'
import { Lines, onLines, Program, type ProgramOptions } from 'filtered-websocket/kit'

/** Milliseconds after which a program that its client has left gets the first signal, as in websocketd. */
const GRACE = 100
const SIGNALS = ['SIGINT', 'SIGTERM'] as const

export interface SessionHost {
  readonly program: Omit<ProgramOptions, 'env'>
  readonly isBinary: boolean
  /** Bytes of a line of output; a longer one is skipped. */
  readonly maxLine: number
  onSkip(): void
  onEnd(client: Client, how: string): void
}

/** A process for one client: messages are its input, its output is sent to the client. */
export class Session {
  /** Settles when the process has started. */
  readonly started: Promise<void>
  /** Settles when the process has ended, or did not start. */
  readonly ended: Promise<void>
  readonly #client: Client
  readonly #host: SessionHost
  #program: Program | undefined
  /** The input is full; called when there is room, or the input has ended. */
  #onRoom: (() => void) | undefined
  #isStopping = false

  constructor(client: Client, host: SessionHost, env: NonNullable<ProgramOptions['env']>) {
    this.#client = client
    this.#host = host
    const starting = Program.start({ ...host.program, env })
    this.started = starting.then(program => this.#begin(program))
    this.ended = starting.then(
      async program => host.onEnd(client, await program.ended),
      () => {},
    )
  }

  /** Writes a message to the process. Returns a promise while the process has not started, or does not read. */
  write(payload: Payload): Drop | Promise<Drop> {
    if (this.#program === undefined) return this.started.then(() => this.write(payload))
    // After the deadline of the last message.
    if (this.#onRoom !== undefined) throw new Error('the program does not read its input')
    const { stdin } = this.#program
    if (stdin.destroyed || stdin.writableEnded) return this.#client.drop('program without input')
    const isRoom = this.#host.isBinary ? stdin.write(payload) : stdin.write(`${payload}\n`)
    if (isRoom) return DROP
    return new Promise(resolve => {
      this.#onRoom = () => {
        this.#onRoom = undefined
        resolve(DROP)
      }
    })
  }

  /** The client has left: closes the input of the process, then sends SIGINT, SIGTERM and SIGKILL. */
  async stop(): Promise<void> {
    this.#isStopping = true
    await this.started.catch(() => {})
    this.#program?.stdout.resume()
    await this.#program?.stop(GRACE, SIGNALS)
  }

  kill(): void {
    this.#program?.kill()
  }

  #begin(program: Program): void {
    this.#program = program
    const { stdin, stdout } = program
    const wake = () => this.#onRoom?.()
    stdin.on('drain', wake).once('close', wake)
    const { isBinary, maxLine, onSkip } = this.#host
    const send = (payload: Payload) => {
      if (!this.#isStopping) this.#client.send(payload)
    }
    if (isBinary) stdout.on('data', send)
    else onLines(stdout, new Lines(maxLine, onSkip), send)
    stdout.on('data', () => {
      if (this.#isStopping) return
      // A client that does not read makes the program wait.
      stdout.pause()
      void this.#client.drained().then(() => stdout.resume())
    })
    void program.ended.then(() => this.#client.disconnect())
  }
}
