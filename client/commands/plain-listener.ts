import { type Connection, connect } from '../connection.ts'
import { type Printer, payloadOf } from './printer.ts'
import type { Target } from './target.ts'

/** Prints all messages of a server. */
export class PlainListener {
  /** Rejects when the connection does not come back; never resolves. */
  readonly failed: Promise<never>
  readonly #target: Target
  readonly #printer: Printer
  readonly #connection: Connection

  constructor(target: Target, printer: Printer) {
    this.#target = target
    this.#printer = printer
    this.#connection = connect(target.url, target.socketOptions)
    this.#connection.on('message', data => printer.print({ payload: payloadOf(data) }))
    this.failed = target.watch(this.#connection)
  }

  async stop(): Promise<void> {
    this.#target.leave(this.#connection)
    await this.#printer.finish()
  }
}
