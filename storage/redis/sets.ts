import type { Logger, Sets } from 'filtered-websocket'
import { chunksOf } from './chunks.ts'
import { type Connection, RefusedError } from './connection.ts'
import { original, portable } from './text.ts'

/** Sets that are written before the lease is renewed in between. */
const CHUNK = 100
/** Other nodes that are looked at whenever the lease is renewed. */
const SAMPLE = 3

export interface LeaseHost {
  /** What all keys begin with. */
  readonly key: string
  /** UUID of this node. */
  readonly instance: string
  readonly log: Logger
  readonly leaseMs: number
  /** Whether it is worth asking Redis. */
  readonly isReached: () => boolean
}

/**
 * A set is the union of what each living node added. Every node writes under an owner name of its own that lives as long
 * as the lease beside it, so that the members of a dead node are gone with it, whoever asks:
 *
 *     KEY:owners               set     of all owners
 *     KEY:lease:OWNER          string  with PX: the owner lives
 *     KEY:names:OWNER          set     of the sets to which the owner added
 *     KEY:set:{NAME}           set     of the owners that added to it
 *     KEY:set:{NAME}:OWNER     set     of the members that the owner added
 *
 * A node that lost its lease, or whose writes failed, takes a new owner name and writes all that it has again, while
 * others may be sweeping up the old one: that is why sweeping twice, or late, does no harm. This node's own members are
 * kept here too, and are what `get` answers while Redis is not reached.
 */
export class LeasedSets implements Sets {
  readonly #connection: Connection
  readonly #host: LeaseHost
  readonly #mine = new Map<string, Set<string>>()
  #epoch = 0
  /** Redis may not have all of `#mine`, or have more: commands were lost. */
  #isStale = false
  /** Redis refused a part of `#mine`. */
  #isIncomplete = false
  /** The log knows that they are not complete. */
  #isTold = false
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

  /** Whether Redis has all that this node added. */
  get isComplete(): boolean {
    return !this.#isStale && !this.#isIncomplete
  }

  async get(name: string): Promise<ReadonlySet<string>> {
    const others = this.#host.isReached() ? await this.#othersOf(name) : []
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

  /** Takes back what this node added; the same member added by another node stays. */
  async remove(name: string, member: string): Promise<void> {
    const members = this.#mine.get(name)
    if (!members?.delete(member)) return
    if (members.size === 0) this.#mine.delete(name)
    const owner = this.#owner
    await this.#write([
      ['SREM', this.#membersKey(name, owner), portable(member)],
      ...(members.size === 0 ? this.#leaving(name, owner) : []),
    ])
  }

  /** Gives up the lease, so that nobody has to wait for its end. */
  async close(): Promise<void> {
    clearInterval(this.#timer)
    await this.#renewing
    if (this.#epoch === 0 || !this.#host.isReached()) return
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
    if (this.isComplete) this.#isTold = false
    this.#inBackground(() => this.#sweepDead())
  }

  /** Writes everything under a new name, and only then gives up the old one. */
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
      // What was added while others had swept already is in no list of names.
      for (const names of chunksOf([...this.#mine.keys()], CHUNK))
        await this.#runAll(names.map(name => ['DEL', this.#membersKey(name, before)]))
    })
  }

  /** One sweep at a time, and never in the way of the lease. */
  #inBackground(sweep: () => Promise<void>): void {
    this.#sweeping = (this.#sweeping ?? Promise.resolve()).then(sweep).catch(error => {
      this.#host.log.debug({ reason: (error as Error).message }, 'redis sweep')
    })
  }

  async #writeAll(owner: string): Promise<void> {
    this.#isIncomplete = false
    for (const names of chunksOf([...this.#mine.keys()], CHUNK)) {
      // It takes time, and a lease that has ended in between must stay so: others are sweeping already.
      const kept = await this.#connection.run('SET', this.#leaseKey(owner), 1, 'XX', 'PX', this.#host.leaseMs)
      if (kept === null) {
        this.#isStale = true
        return
      }
      const commands = names.flatMap(name => {
        // Read when it is written: members may have come and gone meanwhile.
        const members = this.#mine.get(name)
        return members === undefined ? [] : [...this.#entering(name, owner), this.#adding(name, owner, ...members)]
      })
      // Not `#write`: after a reconnect it is known to be reached only once a canary has come.
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
          return isAlive === 1 ? (members as string[]).map(original) : []
        }),
      )
      return found.flat()
    } catch (error) {
      this.#host.log.debug({ reason: (error as Error).message }, 'redis set answered from this node alone')
      return []
    }
  }

  /** A few owners each time: with many nodes each dead one is soon looked at by somebody. */
  async #sweepDead(): Promise<void> {
    const owners = (await this.#connection.run('SRANDMEMBER', this.#key('owners'), SAMPLE)) as string[]
    for (const owner of owners) {
      if (owner === this.#owner) continue
      if ((await this.#connection.run('EXISTS', this.#leaseKey(owner))) === 0) await this.#sweep(owner)
    }
  }

  /** Removes all that an owner wrote. May be done by several nodes at a time, and again. */
  async #sweep(owner: string): Promise<void> {
    await this.#connection.run('DEL', this.#leaseKey(owner))
    let cursor = '0'
    do {
      const scanned = await this.#connection.run('SSCAN', this.#namesKey(owner), cursor, 'COUNT', CHUNK)
      const [next, names] = scanned as [string, string[]]
      cursor = next
      await this.#runAll(
        names.flatMap(name => [
          ['SREM', this.#setKey(original(name)), owner],
          ['DEL', this.#membersKey(original(name), owner)],
        ]),
      )
    } while (cursor !== '0')
    await this.#connection.run('DEL', this.#namesKey(owner))
    await this.#connection.run('SREM', this.#key('owners'), owner)
  }

  /** Never fails: what Redis did not get is written again with the next lease. */
  async #write(commands: readonly Command[]): Promise<void> {
    if (!this.#host.isReached()) {
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
    // Once: until it is mended everything fails the same way.
    if (!this.#isTold && this.#connection.isUp('sending')) {
      this.#isTold = true
      this.#host.log.warn({ reason: error.message }, 'redis sets could not be written, will be written again')
    }
    if (error instanceof RefusedError) this.#isIncomplete = true
    else this.#isStale = true
  }

  /**
   * All of them, whatever becomes of the others; in order, as they go over one connection, in a cluster one for each of
   * the keys. Answers the gravest failure.
   */
  async #runAll(commands: readonly Command[]): Promise<Error | undefined> {
    const outcomes = await Promise.allSettled(
      commands.map(([command, ...args]) => this.#connection.run(command, ...args)),
    )
    const errors = outcomes.flatMap(outcome => (outcome.status === 'rejected' ? [outcome.reason as Error] : []))
    return errors.find(error => !(error instanceof RefusedError)) ?? errors[0]
  }

  #entering(name: string, owner: string): readonly Command[] {
    // In this order: a node that dies in between leaves nothing that is not swept.
    return [
      ['SADD', this.#namesKey(owner), portable(name)],
      ['SADD', this.#setKey(name), owner],
    ]
  }

  #leaving(name: string, owner: string): readonly Command[] {
    return [
      ['SREM', this.#setKey(name), owner],
      ['SREM', this.#namesKey(owner), portable(name)],
    ]
  }

  #adding(name: string, owner: string, ...members: readonly string[]): Command {
    return ['SADD', this.#membersKey(name, owner), ...members.map(portable)]
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
    return this.#key(`set:{${portable(name)}}`)
  }

  #membersKey(name: string, owner: string): string {
    return this.#key(`set:{${portable(name)}}:${owner}`)
  }
}

type Command = readonly [command: string, ...args: (string | number)[]]
