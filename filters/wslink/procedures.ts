import type { Client } from 'filtered-websocket'

/** Dot-separated parts, as the original demands (wslink, section 0). */
const NAME = /^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$/

/**
 * What clients may call: its parameters are the positional arguments, and behind them one object of keyword arguments if
 * there are any. What it returns, or its promise settles to, is the answer. An async generator answers with what it
 * returns; what it yields is published on the way, to its caller, on the topic of its name with `.progress` behind it.
 * Bytes in an answer are not copied before they are sent, so they must not be changed any more.
 */
// biome-ignore lint/suspicious/noExplicitAny: arguments are what clients send; each procedure says what it expects
export type Procedure = (...args: any[]) => unknown

/** Procedures by name, or in objects by the parts of their names: `{ demo: { add } }` is `demo.add`. */
export interface ProcedureTree {
  readonly [name: string]: Procedure | ProcedureTree
}

/** What can be called on one server. */
export class Procedures {
  readonly #known = new Map<string, Procedure>()
  #caller: Client | undefined

  /** Whose call is under way, as far as a procedure has not awaited anything. */
  get caller(): Client | undefined {
    return this.#caller
  }

  /** @throws TypeError for a name that the protocol does not allow, or that is taken. */
  register(name: string, procedure: Procedure): void {
    if (!NAME.test(name)) {
      const rule = 'small letters, digits and _ in parts that begin with a letter, with dots between them'
      throw new TypeError(`the name of a procedure is made of ${rule}, received ${JSON.stringify(name)}`)
    }
    if (typeof procedure !== 'function') throw new TypeError(`procedure ${name} is no function`)
    if (this.#known.has(name)) throw new TypeError(`there are two procedures ${name}; each name has one`)
    this.#known.set(name, procedure)
  }

  registerAll(tree: ProcedureTree, prefix = ''): void {
    for (const [name, item] of Object.entries(tree)) {
      if (typeof item === 'function') this.register(prefix + name, item)
      else this.registerAll(item, `${prefix}${name}.`)
    }
  }

  get(name: string): Procedure | undefined {
    return this.#known.get(name)
  }

  /** Runs something in the name of a client. */
  as<T>(caller: Client, run: () => T): T {
    const before = this.#caller
    this.#caller = caller
    try {
      return run()
    } finally {
      this.#caller = before
    }
  }
}
