import type { Client } from 'filtered-websocket'

/** UTF-16 units, as the `maxlength` of an input counts. */
const MAX_NAME = 20
/** Marks are part of the letters of many languages. */
const NAME = /^[\p{L}\p{N}][\p{L}\p{M}\p{N} .'’_-]*$/u
/** The page shows these names for its own user, and for pictures that have no sender. */
const RESERVED = ['you', 'camera']

/** Names of clients, each used once: `guest-N`, until a client takes another one. They prove no identity. */
export class Names {
  readonly #names = new Map<Client, string>()
  readonly #taken = new Set(RESERVED)
  #guests = 0

  get size(): number {
    return this.#names.size
  }

  get(client: Client): string | undefined {
    return this.#names.get(client)
  }

  add(client: Client): void {
    do this.#guests++
    while (this.#taken.has(`guest-${this.#guests}`))
    this.#set(client, `guest-${this.#guests}`)
  }

  delete(client: Client): void {
    this.#taken.delete(keyOf(this.#names.get(client) ?? ''))
    this.#names.delete(client)
  }

  /** @returns the reason why the client keeps its name; undefined: it has the new one, without extra spaces. */
  rename(client: Client, wanted: unknown): string | undefined {
    const name = typeof wanted === 'string' ? wanted.normalize().trim().replace(/\s+/g, ' ') : ''
    if (name.length > MAX_NAME || !NAME.test(name))
      return `a name is 1 to ${MAX_NAME} letters, digits, spaces or . ' _ -, received ${shown(wanted)}`
    if (this.#taken.has(keyOf(name)) && keyOf(name) !== keyOf(this.#names.get(client)!))
      return `the name "${name}" is taken, choose another one`
    this.delete(client)
    this.#set(client, name)
  }

  #set(client: Client, name: string): void {
    this.#names.set(client, name)
    this.#taken.add(keyOf(name))
  }
}

/** Equal for names that look alike: in case, or in the width of their letters. */
function keyOf(name: string): string {
  return name.normalize('NFKC').toLowerCase()
}

function shown(value: unknown): string {
  if (typeof value !== 'string') return value === null ? 'null' : typeof value
  return JSON.stringify(value.length > 2 * MAX_NAME ? `${value.slice(0, 2 * MAX_NAME)}…` : value)
}
