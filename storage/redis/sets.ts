import type { Logger, Sets } from 'filtered-websocket'
import { chunksOf } from './chunks.ts'
import { type Connection, RefusedError } from './connection.ts'
import { fromUtf8Safe, toUtf8Safe } from './utf8-safe.ts'

/** Sets written between two renewals of the lease. */
const CHUNK = 100
/** Owners checked at each renewal of the lease. */
const SAMPLE = 3

export interface LeaseHost {
  /** Prefix of all keys. */
  readonly key: string
  /** UUID of this node. */
  readonly instance: string
  readonly log: Logger
  readonly leaseMs: number
  /** Whether Redis is reachable. */
  readonly isReachable: () => boolean
}

/**
 * A set is the union of the members that each live node added. A node writes under an owner name with a lease; when the lease
 * expires, its members no longer count:
 *
 *     KEY:owners               set     of all owners
 *     KEY:lease:OWNER          string  with PX: the lease of the owner
 *     KEY:names:OWNER          set     of the sets to which the owner added
 *     KEY:set:{NAME}           set     of the owners that added to it
 *     KEY:set:{NAME}:OWNER     set     of the members that the owner added
 *
 * After a lost lease or failed writes a node takes a new owner name and writes all its members again, while other nodes may
 * sweep the old name; sweeping is idempotent. While Redis is not reachable, `get` returns the members of this node.
 */
export class LeasedSets implements Sets {
  readonly #connection: Connection
  readonly #host: LeaseHost
  readonly #mine = new Map<string, Set<string>>()
  #epoch = 0
  /** Commands were lost: Redis may differ from `#mine`. */
  #isStale = false
  /** Redis refused a part of `#mine`. */
  #isIncomplete = false
  /** The failure has been logged. */
  #isLogged = false
  #timer: NodeJS.Timeout | undefined
  #renewing: Promise<void> | undefined
  #sweeping: Promise<void> | undefined

  constructor(connection: Connection, host: LeaseHost) {
    this.#connection = connection
    this.#host = host
    connection.onReady('sending', () => void this.#renewSoon())
  }

  async start(): Promise<void> {
    await this.#register()
    this.#timer = setInterval(() => void this.#renewSoon(), this.#host.leaseMs / 3)
    this.#timer.unref()
  }

  /** Whether Redis has all members of this node. */
  get isComplete(): boolean {
    return !this.#isStale && !this.#isIncomplete
  }

  async get(name: string): Promise<ReadonlySet<string>> {
    const others = this.#host.isReachable() ? await this.#othersOf(name) : []
    return new Set([...(this.#mine.get(name) ?? []), ...others])
  }

  async add(name: string, member: string): Promise<void> {
    const members = this.#mine.get(name)
    if (members?.has(member)) return
    if (members === undefined) this.#mine.set(name, new Set([member]))
    else members.add(member)
    const owner = this.#owner
    await this.#write([
      ...(members === undefined ? this.#entering(name, owner) : []),
      this.#adding(name, owner, member),
    ])
  }

  /** Removes a member of this node; the same member added by another node stays. */
  async remove(name: string, member: string): Promise<void> {
    const members = this.#mine.get(name)
    if (!members?.delete(member)) return
    if (members.size === 0) this.#mine.delete(name)
    const owner = this.#owner
    await this.#write([
      ['SREM', this.#membersKey(name, owner), toUtf8Safe(member)],
      ...(members.size === 0 ? this.#leaving(name, owner) : []),
    ])
  }

  /** Removes the members of this node, so that others do not have to wait for the end of the lease. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#renewing
    if (this.#epoch === 0 || !this.#host.isReachable()) return
    await this.#sweep(this.#owner).catch(() => {})
  }

  get #owner(): string {
    return `${this.#host.instance}.${this.#epoch}`
  }

  #renewSoon(): Promise<void> {
    this.#renewing ??= this.#renew()
      .catch(error => this.#failed(error))
      .finally(() => {
        this.#renewing = undefined
      })
    return this.#renewing
  }

  async #renew(): Promise<void> {
    if (this.#epoch === 0 || !this.#connection.isUp('sending')) return
    const kept = await this.#connection.run('SET', this.#leaseKey(this.#owner), 1, 'XX', 'PX', this.#host.leaseMs)
    if (kept === null || this.#isStale) await this.#register()
    else if (this.#isIncomplete) await this.#writeAll(this.#owner)
    if (this.isComplete) this.#isLogged = false
    this.#inBackground(() => this.#sweepDead())
  }

  /** Writes all members under a new owner name, then removes the old one. */
  async #register(): Promise<void> {
    const before = this.#owner
    this.#epoch++
    this.#isStale = false
    const owner = this.#owner
    await this.#connection.run('SET', this.#leaseKey(owner), 1, 'PX', this.#host.leaseMs)
    await this.#connection.run('SADD', this.#key('owners'), owner)
    await this.#writeAll(owner)
    if (this.#epoch === 1) return
    this.#host.log.info({ sets: this.#mine.size }, 'redis sets of this node written again')
    this.#inBackground(async () => {
      await this.#sweep(before)
      // Members added after another node had swept are missing in the set of names.
      for (const names of chunksOf([...this.#mine.keys()], CHUNK))
        await this.#runAll(names.map(name => ['DEL', this.#membersKey(name, before)]))
    })
  }

  /** Runs one sweep at a time, without delaying the lease. */
  #inBackground(sweep: () => Promise<void>): void {
    this.#sweeping = (this.#sweeping ?? Promise.resolve()).then(sweep).catch(error => {
      this.#host.log.debug({ reason: (error as Error).message }, 'redis sweep')
    })
  }

  async #writeAll(owner: string): Promise<void> {
    this.#isIncomplete = false
    for (const names of chunksOf([...this.#mine.keys()], CHUNK)) {
      // XX: a lease that expired meanwhile must not be restored, since others may be sweeping already.
      const kept = await this.#connection.run('SET', this.#leaseKey(owner), 1, 'XX', 'PX', this.#host.leaseMs)
      if (kept === null) {
        this.#isStale = true
        return
      }
      const commands = names.flatMap(name => {
        // Read now: members may have changed meanwhile.
        const members = this.#mine.get(name)
        return members === undefined ? [] : [...this.#entering(name, owner), this.#adding(name, owner, ...members)]
      })
      // Not `#write`: after a reconnect `isReachable` is false until a canary is accepted.
      await this.#try(commands)
    }
  }

  async #othersOf(name: string): Promise<readonly string[]> {
    try {
      const owners = (await this.#connection.run('SMEMBERS', this.#setKey(name))) as string[]
      const others = owners.filter(owner => !owner.startsWith(`${this.#host.instance}.`))
      const found = await Promise.all(
        others.map(async owner => {
          const [isAlive, members] = await Promise.all([
            this.#connection.run('EXISTS', this.#leaseKey(owner)),
            this.#connection.run('SMEMBERS', this.#membersKey(name, owner)),
          ])
          return isAlive === 1 ? (members as string[]).map(fromUtf8Safe) : []
        }),
      )
      return found.flat()
    } catch (error) {
      this.#host.log.debug({ reason: (error as Error).message }, 'redis set read from this node only')
      return []
    }
  }

  /** Checks a random sample of owners: the nodes together soon check all. */
  async #sweepDead(): Promise<void> {
    const owners = (await this.#connection.run('SRANDMEMBER', this.#key('owners'), SAMPLE)) as string[]
    for (const owner of owners) {
      if (owner === this.#owner) continue
      if ((await this.#connection.run('EXISTS', this.#leaseKey(owner))) === 0) await this.#sweep(owner)
    }
  }

  /** Removes all keys of an owner. Idempotent, also when several nodes do it concurrently. */
  async #sweep(owner: string): Promise<void> {
    await this.#connection.run('DEL', this.#leaseKey(owner))
    let cursor = '0'
    do {
      const scanned = await this.#connection.run('SSCAN', this.#namesKey(owner), cursor, 'COUNT', CHUNK)
      const [next, names] = scanned as [string, string[]]
      cursor = next
      await this.#runAll(
        names.flatMap(name => [
          ['SREM', this.#setKey(fromUtf8Safe(name)), owner],
          ['DEL', this.#membersKey(fromUtf8Safe(name), owner)],
        ]),
      )
    } while (cursor !== '0')
    await this.#connection.run('DEL', this.#namesKey(owner))
    await this.#connection.run('SREM', this.#key('owners'), owner)
  }

  /** Does not throw: failed writes are repeated with the next renewal of the lease. */
  async #write(commands: readonly Command[]): Promise<void> {
    if (!this.#host.isReachable()) {
      this.#isStale = true
      return
    }
    await this.#try(commands)
  }

  async #try(commands: readonly Command[]): Promise<void> {
    const failed = await this.#runAll(commands)
    if (failed !== undefined) this.#failed(failed)
  }

  #failed(error: Error): void {
    // Logged once per outage.
    if (!this.#isLogged && this.#connection.isUp('sending')) {
      this.#isLogged = true
      this.#host.log.warn({ reason: error.message }, 'redis sets could not be written, will be written again')
    }
    if (error instanceof RefusedError) this.#isIncomplete = true
    else this.#isStale = true
  }

  /**
   * Runs all commands even if some fail, in order per key. Returns a lost command's error before a refusal's.
   */
  async #runAll(commands: readonly Command[]): Promise<Error | undefined> {
    const outcomes = await Promise.allSettled(
      commands.map(([command, ...args]) => this.#connection.run(command, ...args)),
    )
    const errors = outcomes.flatMap(outcome => (outcome.status === 'rejected' ? [outcome.reason as Error] : []))
    return errors.find(error => !(error instanceof RefusedError)) ?? errors[0]
  }

  #entering(name: string, owner: string): readonly Command[] {
    // In this order a node that dies in between leaves no key that a sweep would miss.
    return [
      ['SADD', this.#namesKey(owner), toUtf8Safe(name)],
      ['SADD', this.#setKey(name), owner],
    ]
  }

  #leaving(name: string, owner: string): readonly Command[] {
    return [
      ['SREM', this.#setKey(name), owner],
      ['SREM', this.#namesKey(owner), toUtf8Safe(name)],
    ]
  }

  #adding(name: string, owner: string, ...members: readonly string[]): Command {
    return ['SADD', this.#membersKey(name, owner), ...members.map(toUtf8Safe)]
  }

  #key(rest: string): string {
    return `${this.#host.key}:${rest}`
  }

  #leaseKey(owner: string): string {
    return this.#key(`lease:${owner}`)
  }

  #namesKey(owner: string): string {
    return this.#key(`names:${owner}`)
  }

  #setKey(name: string): string {
    return this.#key(`set:{${toUtf8Safe(name)}}`)
  }

  #membersKey(name: string, owner: string): string {
    return this.#key(`set:{${toUtf8Safe(name)}}:${owner}`)
  }
}

type Command = readonly [command: string, ...args: (string | number)[]]
