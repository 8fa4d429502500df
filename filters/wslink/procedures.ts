import type { Client } from 'filtered-websocket'

/** Parts separated by dots, as in wslink (Python) (wslink, section 0). */
const NAME = /^[a-z][a-z0-9_]*(\.[a-z][a-z0-9_]*)*$/

/**
 * A function that clients can call. It gets the positional arguments, followed by an object of keyword arguments if there are
 * any. The reply is its result, or that of its promise or async generator; values that a generator yields are published to
 * the caller on the topic NAME.progress. Bytes in a result are not copied and must not be changed later.
 */
// biome-ignore lint/suspicious/noExplicitAny: clients send the arguments; each procedure declares the types that it expects
export type Procedure = (...args: any[]) => unknown

/** Procedures in nested objects by the parts of their names: `{ demo: { add } }` is `demo.add`. */
export interface ProcedureTree {
  readonly [name: string]: Procedure | ProcedureTree
}

/** The procedures of a server. */
export class Procedures {
  readonly #procedures = new Map<string, Procedure>()
  #caller: Client | undefined

  /** The client of the running call; only until the procedure awaits. */
  get caller(): Client | undefined {
    return this.#caller
  }

  /** @throws TypeError for an invalid or duplicate name. */
  register(name: string, procedure: Procedure): void {
    if (!NAME.test(name)) {
      const rule = 'lower-case letters, digits and _ in parts that start with a letter, separated by dots'
      throw new TypeError(`the name of a procedure has ${rule}, received ${JSON.stringify(name)}`)
    }
    if (typeof procedure !== 'function') throw new TypeError(`procedure ${name} is not a function`)
    if (this.#procedures.has(name)) throw new TypeError(`procedure ${name} is already registered`)
    this.#procedures.set(name, procedure)
  }

  registerAll(tree: ProcedureTree, prefix = ''): void {
    for (const [name, item] of Object.entries(tree)) {
      if (typeof item === 'function') this.register(prefix + name, item)
      else this.registerAll(item, `${prefix}${name}.`)
    }
  }

  get(name: string): Procedure | undefined {
    return this.#procedures.get(name)
  }

  /** Runs a function with this client as `caller`. */
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
