import { type Client, FwsError, type Verdict } from 'filtered-websocket'
import { type Line, lineOf, type ProgramEvent } from './protocol.ts'
import { carryOut } from './verdict.ts'

/** Open questions, and characters that the program has not read, from which on further events wait. */
const MAX_OPEN = 256
const MAX_UNWRITTEN = 1_048_576

/** The outcome of questions while the program is down. */
export type DownPolicy = 'fail' | 'hold' | 'pass'

export interface QuestionsHost {
  readonly down: DownPolicy
  /** Milliseconds for an answer; 0: no limit. */
  readonly timeout: number
  /** Characters that the program has not read. */
  readonly unwritten: number
  /** Returns a promise if the caller has to wait for the program. */
  write(line: string): Promise<void> | undefined
}

/** The program is down. */
export class Down extends Error {}

/** An event that waits until it is written and, if it is a question, until it is answered. */
interface Entry {
  readonly id: number
  readonly event: ProgramEvent
  readonly client: Client | undefined
  /** Its fields without braces. */
  readonly body: string
  readonly isQuestion: boolean
  /** In milliseconds since 1970. */
  readonly deadline: number
  /** Whether it was written to this program, and whether to an earlier one. */
  isOpen: boolean
  isAgain: boolean
  isSettled: boolean
  settle(verdict?: Verdict): void
  fail(error: Error): void
}

/** The events of all clients on their way to one program: each question is answered once and in time, or fails. */
export class Questions {
  readonly #host: QuestionsHost
  /** By id, in the order of their deadlines. */
  readonly #entries = new Map<number, Entry>()
  /** Those that are not written to the program, from `#next` on. */
  #waiting: Entry[] = []
  #next = 0
  #lastId = 0
  #open = 0
  #timer: NodeJS.Timeout | undefined
  /** `informing`: the program is up, and does not have the state of the server yet. */
  #state: 'down' | 'informing' | 'up' = 'down'
  #why = 'the program is not running'
  /** Grows with each beginning and end of the program. */
  #turn = 0

  constructor(host: QuestionsHost) {
    this.#host = host
  }

  /** @throws (rejects) Error: the program is down, has not answered in time, or has answered with an error. */
  ask(event: ProgramEvent, client: Client | undefined, body: string): Promise<Verdict> {
    if (this.#state === 'down' && this.#host.down !== 'hold')
      return this.#host.down === 'pass' ? Promise.resolve() : Promise.reject(new Down(this.#why))
    return this.#add(event, client, body, true)
  }

  /** Writes an event without an answer; returns a promise while there is no room. Without a program the event has no effect. */
  notify(event: ProgramEvent, body: string): Promise<void> | undefined {
    if (this.#state === 'down') return undefined
    if (!this.#hasRoom) return this.#add(event, undefined, body, false) as Promise<void>
    this.#host.write(lineOf(event, body))
    return undefined
  }

  /** Settles a question. Returns whether it is open. */
  answer(verdict: Line): boolean {
    const entry = this.#entries.get(verdict.id as number)
    if (entry === undefined || !entry.isOpen) return false
    this.#remove(entry)
    try {
      entry.settle(carryOut(entry.event, entry.client, verdict))
    } catch (error) {
      entry.fail(error as Error)
    }
    this.sendWaiting()
    return true
  }

  /** Writes the events that wait, as far as there is room. */
  sendWaiting(): void {
    if (this.#waiting.length === 0) return
    while (this.#next < this.#waiting.length && this.#isFree) {
      const entry = this.#waiting[this.#next++]!
      if (!entry.isSettled) this.#send(entry)
    }
    if (this.#next < this.#waiting.length && this.#next < 1024) return
    this.#waiting = this.#waiting.slice(this.#next)
    this.#next = 0
  }

  /** The program has begun. Events wait until it has the lines. */
  async begun(lines: Iterable<string>): Promise<void> {
    const turn = ++this.#turn
    this.#state = 'informing'
    for (const line of lines) {
      await this.#host.write(line)
      // It has ended meanwhile, or has asked for other events.
      if (this.#turn !== turn) return
    }
    this.#state = 'up'
    this.sendWaiting()
  }

  /** The program has ended. */
  ended(why: string): void {
    this.#turn++
    this.#state = 'down'
    this.#why = why
    this.#waiting = []
    this.#next = 0
    for (const entry of this.#entries.values()) {
      if (this.#host.down === 'hold' && entry.isQuestion) {
        entry.isAgain ||= entry.isOpen
        entry.isOpen = false
        this.#waiting.push(entry)
        continue
      }
      this.#remove(entry)
      // The next program gets the state in place of notices.
      if (this.#host.down === 'pass' || !entry.isQuestion) entry.settle()
      else entry.fail(new Down(why))
    }
    this.#open = 0
  }

  get #isFree(): boolean {
    return this.#state === 'up' && this.#open < MAX_OPEN && this.#host.unwritten < MAX_UNWRITTEN
  }

  get #hasRoom(): boolean {
    return this.#waiting.length === 0 && this.#isFree
  }

  #add(event: ProgramEvent, client: Client | undefined, body: string, isQuestion: boolean): Promise<Verdict> {
    return new Promise((settle, fail) => {
      const deadline = Date.now() + this.#host.timeout
      const id = ++this.#lastId
      const state = { isOpen: false, isAgain: false, isSettled: false }
      const entry: Entry = { id, event, client, body, isQuestion, deadline, ...state, settle, fail }
      this.#entries.set(id, entry)
      if (this.#hasRoom) this.#send(entry)
      else this.#waiting.push(entry)
      if (this.#timer === undefined && this.#host.timeout > 0) this.#startTimer(this.#host.timeout)
    })
  }

  #send(entry: Entry): void {
    const { id, event, body, isQuestion, isAgain } = entry
    this.#host.write(lineOf(event, body, isQuestion ? id : undefined, isAgain))
    if (isQuestion) {
      entry.isOpen = true
      this.#open++
    } else {
      this.#remove(entry)
      entry.settle()
    }
  }

  #remove(entry: Entry): void {
    this.#entries.delete(entry.id)
    entry.isSettled = true
    if (entry.isOpen) this.#open--
  }

  #startTimer(ms: number): void {
    this.#timer = setTimeout(() => this.#expire(), ms).unref()
  }

  #expire(): void {
    this.#timer = undefined
    const now = Date.now()
    for (const entry of this.#entries.values()) {
      if (entry.deadline > now) {
        this.#startTimer(entry.deadline - now)
        break
      }
      this.#remove(entry)
      const what = entry.isOpen ? 'answer' : 'get'
      entry.fail(new FwsError('ERR_TIMEOUT', `the program did not ${what} it within ${this.#host.timeout / 1000} s`))
    }
    this.#waiting = this.#waiting.slice(this.#next).filter(({ isSettled }) => !isSettled)
    this.#next = 0
    this.sendWaiting()
  }
}
